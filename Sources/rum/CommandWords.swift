/// The order of the words of a command line.
enum CommandWords {
    /// Commands that have commands of their own.
    private static let groups: [String: Set<String>] = ["ports": ["show", "wait", "why", "add", "rm"]]

    /// Moves `-c FILE`, `-v` and `--json` from before a command to behind it, where the parser takes them: `rum -c dev.toml
    /// up` is `rum up -c dev.toml`, and `rum ports -c dev.toml wait 80` is `rum ports wait -c dev.toml 80`.
    static func ordered(_ words: [String]) -> [String] {
        var moved: [String] = []
        var command: [String] = []
        var rest = words[...]
        while let word = rest.first {
            if let count = optionLength(word, of: rest) {
                moved += rest.prefix(count)
                rest = rest.dropFirst(count)
            } else if command.isEmpty, !word.hasPrefix("-") {
                command.append(word)
                rest = rest.dropFirst()
                if groups[word] == nil { break }
            } else if let group = command.first, groups[group]?.contains(word) == true {
                command.append(word)
                rest = rest.dropFirst()
                break
            } else {
                break
            }
        }
        // Without a command there is nothing to move behind.
        return command.isEmpty ? words : command + moved + rest
    }

    /// How many words belong to an option that every command about a machine takes; nil for anything else.
    private static func optionLength(_ word: String, of rest: ArraySlice<String>) -> Int? {
        switch word {
        case "-c", "--config": rest.count > 1 ? 2 : nil
        case "-v", "--verbose", "--json": 1
        case _ where word.hasPrefix("--config="): 1
        default: nil
        }
    }
}
