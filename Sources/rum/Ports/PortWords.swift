import ArgumentParser
import CommandMain

/// For commands that take a word of their own beside the machine's name, in any order: `rum ports wait 5001 dev` or
/// `rum ports wait dev 5001`.
struct PortWords: ParsableArguments {
    @OptionGroup var file: ConfigOption

    /// The command's own word among at most two, and whose forwards it is about: the other one is a name.
    func split<Word: ExpectedArgument>(
        _ words: [String], as type: Word.Type
    ) throws(ValidationError) -> (Word, MachineChoice) {
        guard let place = words.firstIndex(where: { Word(argument: $0) != nil }), words.count <= 2,
            let word = Word(argument: words[place])
        else {
            switch words.count {
            case 0: throw ValidationError("give \(Word.expected)")
            case 1: throw ValidationError("expected \(Word.expected), not \"\(words[0])\"")
            default:
                throw ValidationError("expected \(Word.expected), and at most a machine's name beside it")
            }
        }
        let other = words.indices.first { $0 != place }.map { words[$0] }
        return (word, try MachineChoice(name: other, config: file.config))
    }
}
