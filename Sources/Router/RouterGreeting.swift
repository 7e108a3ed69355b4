/// What a process says to the one with the router's ports, once: a version and its machine's name, in a line.
enum RouterGreeting {
    static let version = "1"
    /// Bytes of the line.
    static let limit = 256

    static func line(machine: String) -> [UInt8] { Array("\(version) \(machine)\n".utf8) }

    /// The machine's name in a line without its end; nil for another version, or when it is no such line.
    static func machine(in line: some Sequence<UInt8>) -> String? {
        let words = String(decoding: Array(line), as: UTF8.self).split(separator: " ")
        guard words.count == 2, words[0] == version else { return nil }
        return String(words[1])
    }
}
