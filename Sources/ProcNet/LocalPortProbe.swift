internal import Glibc
internal import Linux
package import Ports

/// Looks in `/proc/net/tcp` and `tcp6` for connections of a local port, those in TIME_WAIT included.
package struct LocalPortProbe: Sendable {
    /// Rows read at the most, which takes some 5 ms. Where there are more, one is taken to be of this port.
    private static let mostRows = 4000

    private let root: String

    /// - Parameter root: the directory that holds `net/tcp`; without it, that of the calling thread's namespace.
    package init(root: String = "/proc/thread-self") { self.root = root }

    /// False when there is none, or when the tables can't be read.
    package func hasConnection(on port: PortNumber) -> Bool {
        ProcNetFamily.allCases.contains { (try? hasConnection(on: port, $0)) ?? false }
    }

    private func hasConnection(on port: PortNumber, _ family: ProcNetFamily) throws(SystemError) -> Bool {
        let number = open("\(root)/net/\(family.rawValue)", O_RDONLY | O_CLOEXEC)
        let file = OwnedDescriptor(owning: try SystemError.check("open", number))
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        var text: [UInt8] = []
        var rows = 0
        while rows < Self.mostRows {
            let count = try SystemError.check("read", read(file.rawValue, &buffer, buffer.count))
            if count == 0 { return false }
            text += buffer[..<count]
            var start = 0
            while let end = text[start...].firstIndex(of: UInt8(ascii: "\n")) {
                if Self.isConnection(of: port, text.span.extracting(start..<end), family) { return true }
                start = end + 1
                rows += 1
            }
            text.removeFirst(start)
        }
        return true
    }

    private static func isConnection(
        of port: PortNumber, _ row: Span<UInt8>, _ family: ProcNetFamily
    ) -> Bool {
        var fields = RowCursor()
        // The header has no address in its second field.
        guard fields.skip(1, in: row), fields.address(family, in: row) != nil,
            fields.hex16(after: ":", in: row) == port.rawValue,
            fields.skip(1, in: row), let state = fields.hex8(in: row)
        else { return false }
        return TCPState(rawValue: state) != .listen
    }
}
