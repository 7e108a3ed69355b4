internal import CLinux
internal import Glibc
internal import Linux

/// Finds a tracepoint's number and record format.
package struct TraceFS: Sendable {
    /// Directories to try, best first.
    package var mounts: [String]
    /// Make a tracefs of our own, mounted nowhere, when none of `mounts` is one.
    package var mayDetach: Bool

    package init(mounts: [String], mayDetach: Bool) {
        self.mounts = mounts
        self.mayDetach = mayDetach
    }

    /// The usual places, then a detached mount.
    package static let standard = TraceFS(
        mounts: ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"], mayDetach: true)

    /// Reads `events/NAME/id` and `format`; both are readable by root alone.
    func event(_ name: String) throws(HintSourceLost) -> (id: UInt64, format: String) {
        for mount in mounts {
            if let found = Self.read("\(mount)/events/\(name)") { return found }
        }
        guard mayDetach else { throw HintSourceLost(description: "tracefs is not readable") }
        do {
            let root = OwnedDescriptor(owning: try SystemError.check("tracefs", clinux_open_tracefs()))
            if let found = Self.read("/proc/self/fd/\(root.rawValue)/events/\(name)") { return found }
        } catch {
            throw HintSourceLost(description: "\(error)")
        }
        throw HintSourceLost(description: "this kernel has no tracepoint \(name)")
    }

    private static func read(_ directory: String) -> (id: UInt64, format: String)? {
        guard let id = TextFile.read("\(directory)/id"), let format = TextFile.read("\(directory)/format"),
            let number = UInt64(id.prefix { $0 != "\n" })
        else { return nil }
        return (number, format)
    }
}

/// Small files of the kernel's virtual file systems.
enum TextFile {
    /// The first 64 KiB as text, nil when the file can't be read.
    static func read(_ path: String) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        var length = 0
        while length < bytes.count {
            let count = bytes.withUnsafeMutableBytes {
                Glibc.read(file, $0.baseAddress?.advanced(by: length), $0.count - length)
            }
            if count < 0 { return nil }
            if count == 0 { break }
            length += count
        }
        return String(decoding: bytes[..<length], as: UTF8.self)
    }
}

/// The CPUs that run, from `/sys/devices/system/cpu/online`, or from `/proc/stat` in a root folder without /sys.
enum OnlineCPUs {
    static func list() -> [Int32] {
        list(sys: "/sys/devices/system/cpu/online", stat: "/proc/stat")
    }

    static func list(sys: String, stat: String) -> [Int32] {
        TextFile.read(sys).map(parse) ?? TextFile.read(stat).map(parseStat) ?? []
    }

    /// Reads the lines `cpu0 ...`, one for each CPU online (proc_stat(5)).
    static func parseStat(_ text: String) -> [Int32] {
        text.split(separator: "\n").compactMap { line in
            guard line.hasPrefix("cpu") else { return nil }
            return Int32(line.dropFirst(3).prefix { $0 != " " })
        }
    }

    /// Reads `0-3,5`.
    static func parse(_ text: String) -> [Int32] {
        text.prefix { $0 != "\n" }.split(separator: ",").flatMap { part -> [Int32] in
            let ends = part.split(separator: "-").compactMap { Int32($0) }
            guard let first = ends.first, let last = ends.last, first <= last else { return [] }
            return Array(first...last)
        }
    }
}
