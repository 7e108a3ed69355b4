internal import ArgumentParser
internal import Linux

/// A word in the place of a command's name.
struct UnknownCommand {
    let word: String
    /// The names of the program and the groups before it.
    let path: [String]
    let group: any ParsableCommand.Type

    /// What to say of it in the place of the parser's `words`, which blame the word behind it where the group has a command that
    /// needs no name; nil when those are right. It has no words for a command whose help is asked for.
    func message(insteadOf words: String?) -> String? {
        let shown = group.configuration.subcommands.filter { $0.configuration.shouldDisplay }
        let names = shown.map { $0._commandName }
        let closest = Suggestion.closest(to: word, among: names)
        let takesOthers = group.configuration.defaultSubcommand != nil
        if takesOthers, closest == nil || words?.contains("Unexpected argument") == false { return nil }
        let typed = (path + [word]).joined(separator: " ")
        let meant = closest.map { "; did you mean '\((path + [$0]).joined(separator: " "))'?" }
        return "there is no command '\(typed)'\(meant ?? "")"
    }

    var hint: String { "See '\(path.joined(separator: " ")) --help' for more information." }
}
