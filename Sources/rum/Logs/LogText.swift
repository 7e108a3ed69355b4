import Glibc
import Linux

/// What a log is asked for.
enum LogSelection: String, CaseIterable, Sendable {
    /// All that the guest said.
    case console
    /// The agent's lines.
    case agent
    /// Those of the scripts of rum.toml.
    case provision
    /// What the background process of `rum up -d` said.
    case background

    /// Whether a line of the log belongs to it.
    ///
    /// The units of agent and provisioning copy their words to the console, where systemd-journald writes
    /// `[   12.345678] NAME[PID]: ` before each (journald.conf(5), ForwardToConsole).
    func contains(_ line: some StringProtocol) -> Bool {
        switch self {
        case .console, .background: true
        case .agent: Self.isFrom("rum-agent", line)
        case .provision: Self.isFrom("rum-provision", line)
        }
    }

    private static func isFrom(_ name: String, _ line: some StringProtocol) -> Bool {
        var rest = Substring(line)
        if rest.hasPrefix("["), let end = rest.firstIndex(of: "]") {
            rest = rest[rest.index(after: end)...].drop { $0 == " " }
        }
        return rest.hasPrefix(name + "[") || rest.hasPrefix(name + ":")
    }
}

/// Lines of logs.
enum LogText {
    /// Longer ones are cut in pieces: a guest could write one without an end.
    static let longestLine = 16 << 10

    /// The lines of a small log from a place on.
    static func lines(of path: String, from start: UInt64) -> [String] {
        guard let text = try? SmallFile.text(of: path) else { return [] }
        let rest = text.utf8.dropFirst(Int(start))
        return rest.split(separator: UInt8(ascii: "\n")).map { String(decoding: $0, as: UTF8.self) }
    }

    /// A line as a terminal may show it: without colours and other control sequences (ECMA-48), and nothing else hidden.
    static func shown(_ line: String) -> String {
        withoutSequences(line).replacing("\t", with: "    ").printable(limit: longestLine)
    }

    /// `ESC [ ... letter`, `ESC ] ... BEL`, and `ESC` with one more character.
    static func withoutSequences(_ line: String) -> String {
        var result = String.UnicodeScalarView()
        var rest = line.unicodeScalars[...]
        while let scalar = rest.popFirst() {
            guard scalar == "\u{1b}" else {
                result.append(scalar)
                continue
            }
            switch rest.popFirst() {
            case "[": rest = rest.drop { !("@"..."~").contains($0) }.dropFirst()
            case "]": rest = rest.drop { $0 != "\u{7}" && $0 != "\u{1b}" }.dropFirst()
            default: break
            }
        }
        return String(result)
    }
}

/// Reads a log's lines, and those that come later. What is at its path may be replaced or cut; then it begins again.
final class LogReader {
    private let path: String
    private var file: OwnedDescriptor
    private var identity: (inode: UInt64, size: Int64) = (0, 0)
    private var splitter = LineSplitter(longest: LogText.longestLine)

    /// - Throws: ENOENT when there is no log.
    init(_ path: String) throws(SystemError) {
        self.path = path
        file = try Self.open(path)
        identity = (Self.status(of: path)?.inode ?? 0, 0)
    }

    private static func open(_ path: String) throws(SystemError) -> OwnedDescriptor {
        OwnedDescriptor(owning: try SystemError.check("open", Glibc.open(path, O_RDONLY | O_CLOEXEC)))
    }

    /// Complete lines that have come since the last call; empty when there are none now.
    func next() throws(SystemError) -> [String] {
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        let count = try SystemError.check("read", read(file.rawValue, &chunk, chunk.count))
        identity.size += Int64(count)
        return splitter.add(chunk[..<count]).map(Self.withoutReturn)
    }

    /// What has no line end yet.
    func rest() -> String? { splitter.takeRest().map(Self.withoutReturn) }

    /// Consoles end their lines with a carriage return too.
    private static func withoutReturn(_ line: String) -> String {
        line.last == "\r" ? String(line.dropLast()) : line
    }

    /// Begins anew when another file has taken the place, or this one was cut; whether that was so.
    func beginAgainIfReplaced() -> Bool {
        guard let now = Self.status(of: path), now.inode != identity.inode || now.size < identity.size else {
            return false
        }
        guard let file = try? Self.open(path) else { return false }
        self.file = file
        splitter = LineSplitter(longest: LogText.longestLine)
        identity = (now.inode, 0)
        return true
    }

    private static func status(of path: String) -> (inode: UInt64, size: Int64)? {
        var info = stat()
        return stat(path, &info) == 0 ? (UInt64(info.st_ino), Int64(info.st_size)) : nil
    }
}
