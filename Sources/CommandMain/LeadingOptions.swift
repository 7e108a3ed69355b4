internal import ArgumentParser

/// Options of the commands that may also stand before the command's name: `rum -c FILE up` is `rum up -c FILE`.
package struct LeadingOptions: Sendable {
    /// Those that stand alone.
    let flags: [String]
    /// Those with a value behind them, or joined to them: `-c FILE`, `-cFILE`, `--config FILE`, `--config=FILE`.
    let valued: [String]

    package init(flags: [String] = [], valued: [String] = []) {
        self.flags = flags
        self.valued = valued
    }

    /// `arguments` with what stands before the name of a command of `root` moved behind it, and behind the names of its
    /// own commands. Anything else stays as it is, for the parser to complain about.
    func behindCommand(_ arguments: [String], of root: any ParsableCommand.Type) -> [String] {
        var rest = arguments[...]
        var command = root
        var (names, moved): ([String], [String]) = ([], [])
        while true {
            var next = rest
            while let word = next.first, let length = length(word) { next = next.dropFirst(length) }
            guard let word = next.first,
                let found = command.configuration.subcommands.first(where: { Self.names($0).contains(word) })
            else { return names.isEmpty ? arguments : names + moved + rest }
            moved += rest[..<next.startIndex]
            names.append(word)
            command = found
            rest = next.dropFirst()
        }
    }

    /// The first word that stands where a command of a group is named, and names none; nil when there is no such word.
    func unknownCommand(_ arguments: [String], of root: any ParsableCommand.Type) -> UnknownCommand? {
        var rest = arguments[...]
        var group = root
        var path = [root._commandName]
        while true {
            while let word = rest.first, let length = length(word) { rest = rest.dropFirst(length) }
            let commands = group.configuration.subcommands
            guard let word = rest.first, !word.hasPrefix("-"), !commands.isEmpty else { return nil }
            guard let found = commands.first(where: { Self.names($0).contains(word) }) else {
                return UnknownCommand(word: word, path: path, group: group)
            }
            path.append(word)
            group = found
            rest = rest.dropFirst()
        }
    }

    /// How many words an option takes that starts with `word`; nil for all else.
    private func length(_ word: String) -> Int? {
        if flags.contains(word) { return 1 }
        if valued.contains(word) { return 2 }
        let isJoined = valued.contains { name in
            word.hasPrefix(name.hasPrefix("--") ? name + "=" : name)
        }
        return isJoined && !(word.hasPrefix("--") && !word.contains("=")) ? 1 : nil
    }

    private static func names(_ command: any ParsableCommand.Type) -> [String] {
        [command._commandName] + command.configuration.aliases
    }
}
