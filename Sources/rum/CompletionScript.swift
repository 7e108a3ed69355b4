import Foundation

/// What the parser generates for shells, with what it leaves out.
enum CompletionScript {
    /// Has shells offer the names of machines behind `rum ports`, as its default command has them; the parser offers the
    /// group's commands alone. Any other text stays as it is.
    static func offeringNames(_ text: String) -> String {
        var lines = text.components(separatedBy: "\n")
        let request = "---completion ports show -- positional@0"
        guard let own = lines.first(where: { $0.contains(request) }) else { return text }
        if own.hasPrefix("complete ") {
            // fish: a line for each thing that is offered, with where it is.
            insert(own.replacing("\"rum ports show\"", with: "\"rum ports\""), into: &lines) {
                $0.contains("_positional \"rum ports\" ")
            }
        } else if own.contains("__rum_add_completions") {
            let offer = own.trimmingCharacters(in: .whitespaces)
            insert("        [[ \"${#unparsed_words[@]}\" -gt 0 ]] || \(offer)", into: &lines) {
                $0.contains("COMPREPLY+=($(compgen -W 'show ")
            }
        } else if let start = own.firstIndex(of: "{"), let end = own.lastIndex(of: "}") {
            // zsh: the braces hold a command.
            let command = own[own.index(after: start)..<end]
            let group = lines.firstIndex(of: "_rum_ports() {") ?? lines.endIndex
            insert("        \(command) && ret=0", into: &lines, from: group) {
                $0.contains("_describe -V subcommand")
            }
        }
        return lines.joined(separator: "\n")
    }

    /// Inserts a line behind the first one that is meant.
    private static func insert(
        _ line: String, into lines: inout [String], from start: Int = 0, behind isMeant: (String) -> Bool
    ) {
        guard let place = lines[start...].firstIndex(where: isMeant) else { return }
        lines.insert(line, at: place + 1)
    }
}
