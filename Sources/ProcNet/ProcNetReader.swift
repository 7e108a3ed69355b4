internal import Glibc
internal import Linux
package import Ports

/// Reads the listeners of both families from a proc file system, up to the first connection, so that a machine's many
/// connections cost nothing.
package struct ProcNetReader: Sendable {
    /// The directory that holds `net/tcp`, usually `/proc`.
    package let root: String

    /// Read the tables to their end: slow, but independent of the order in which the kernel prints them.
    private let readsConnections: Bool

    package init(root: String = "/proc", readsConnections: Bool = false) {
        self.root = root
        self.readsConnections = readsConnections
    }

    /// All listeners whose ports lie in `range`. A missing `tcp6` is a kernel without IPv6; a missing `tcp` is
    /// an error.
    package func listeners(in range: PortRange = .all) throws(ProcNetError) -> [ObservedListener] {
        guard let v4 = try read(.v4, range) else {
            throw .unreadable(path: path(.v4), code: ENOENT)
        }
        return try v4 + (read(.v6, range) ?? [])
    }

    private func path(_ family: ProcNetFamily) -> String { "\(root)/net/\(family.rawValue)" }

    /// nil when the file does not exist.
    private func read(
        _ family: ProcNetFamily, _ range: PortRange
    ) throws(ProcNetError) -> [ObservedListener]? {
        let file: OwnedDescriptor
        do {
            let number = open(path(family), O_RDONLY | O_CLOEXEC)
            file = OwnedDescriptor(owning: try SystemError.check("open", number))
        } catch {
            if error.code == ENOENT { return nil }
            throw .unreadable(path: path(family), code: error.code)
        }
        var parser = ProcNetParser(family: family, range: range, readsConnections: readsConnections)
        // The kernel gives one page at a time, whatever it is asked for.
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while !parser.isPastListeners {
            let count = Glibc.read(file.rawValue, &buffer, buffer.count)
            if count < 0 {
                let code = SystemError.current("read").code
                if code == EINTR { continue }
                throw .unreadable(path: path(family), code: code)
            }
            if count == 0 { break }
            try parser.feed(buffer.span.extracting(0..<count))
        }
        return try parser.finish()
    }
}

extension ProcNetError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .malformedLine(let number): "line \(number) of /proc/net is not a socket row"
        case .unreadable(let path, let code): "\(path): \(SystemError.text(for: code))"
        }
    }
}
