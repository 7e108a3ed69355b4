/// Finds news in what a guest's console says, piece by piece. Pure; the guest may say what it likes.
struct ConsoleReader {
    private var line: [UInt8] = []
    private var hasSeed = false
    private var told: Set<ConsoleNews> = []

    /// Longer lines are cut: nothing that is looked for stands so far behind.
    private static let longest = 2048
    /// How many different warnings a guest may have told.
    private static let mostNews = 64

    /// What `bytes` tell. Each piece of news comes once.
    mutating func read(_ bytes: some Sequence<UInt8>) -> [ConsoleNews] {
        var news: [ConsoleNews] = []
        for byte in bytes {
            if byte == UInt8(ascii: "\n") {
                news += new(in: String(decoding: line, as: UTF8.self))
                line = []
            } else if line.count < Self.longest, byte != UInt8(ascii: "\r") {
                line.append(byte)
            }
        }
        return news
    }

    /// What the console tells when it says nothing more for a moment: a prompt has no end of line.
    mutating func pause() -> [ConsoleNews] {
        let text = String(decoding: line, as: UTF8.self)
        if text.hasSuffix("login: "), !hasSeed { return keep(.noCloudInit) }
        return text.contains("(initramfs)") ? keep(.emergency) : []
    }

    private mutating func new(in text: String) -> [ConsoleNews] {
        if let mark = text.firstRange(of: "rum-install: ") {
            hasSeed = true
            return keep(Self.install(text[mark.upperBound...]))
        }
        for (words, news) in Self.signs where text.contains(words) { return keep(news) }
        return []
    }

    private static func install(_ text: Substring) -> ConsoleNews {
        if text == "begins" { return .seedFound }
        if text == "done" { return .installed }
        if text == "no vsock" { return .noVsock }
        if text.hasPrefix("failed ") { return .installFailed(String(text)) }
        return .warning(String(text.hasPrefix("warning: ") ? text.dropFirst("warning: ".count) : text))
    }

    private static let signs: [(String, ConsoleNews)] = [
        ("Kernel panic - not syncing", .panic),
        ("No bootable device", .notBootable), ("No bootable option or device was found", .notBootable),
        ("You are in emergency mode", .emergency), ("Entering emergency mode", .emergency),
        ("ignition[", .ignition), ("Ignition (", .ignition),
    ]

    private mutating func keep(_ news: ConsoleNews) -> [ConsoleNews] {
        told.count < Self.mostNews && told.insert(news).inserted ? [news] : []
    }
}
