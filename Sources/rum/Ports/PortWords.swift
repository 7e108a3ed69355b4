import ArgumentParser
import CommandMain

/// For commands that take a word of their own beside the machine's name, in any order: `rum ports wait 5001 dev` or
/// `rum ports wait dev 5001`.
struct PortWords: ParsableArguments {
    @Option(
        name: [.customShort("c"), .customLong("config")],
        help: ArgumentHelp(
            "The machine's configuration; else rum.toml in this folder or one above.", valueName: "file"))
    var config: String?

    /// Whose forwards the command is about, without which it can't do anything.
    func forwarded(named name: String?) throws(CommandFailure) -> Forwarded {
        var options = MachineOptions()
        options.config = config
        options.name = name
        return try options.forwarded()
    }

    /// The command's own word among at most two, and the other one, which is a name.
    ///
    /// - Parameter kind: such as "port", for the message.
    func split<Word: ExpressibleByArgument>(
        _ words: [String], as type: Word.Type, _ kind: String
    ) throws(ValidationError) -> (Word, String?) {
        guard let place = words.firstIndex(where: { Word(argument: $0) != nil }), words.count <= 2,
            let word = Word(argument: words[place])
        else {
            throw ValidationError(
                words.isEmpty
                    ? "which \(kind)?" : "expected a \(kind), and at most a machine's name beside it")
        }
        let others = words.indices.filter { $0 != place }.map { words[$0] }
        if others.first != nil, config != nil {
            throw ValidationError("give either -c or a machine's name, not both")
        }
        return (word, others.first)
    }
}
