import Testing

@testable import rum

@Suite("The order of the words of a command line")
struct CommandWordsTests {
    @Test(
        "Options of every machine's command may come before it",
        arguments: [
            ("-c x up", "up -c x"), ("-v -c x up -d", "up -v -c x -d"),
            ("--config=x status dev", "status --config=x dev"),
            ("--json list", "list --json"), ("-c x exec -- -c y", "exec -c x -- -c y"),
            ("ports -c x wait 80", "ports wait -c x 80"),
            ("-v ports -c x why 80 -v", "ports why -v -c x 80 -v"),
            ("ports -v dev", "ports -v dev"), ("ports dev", "ports dev"),
            ("ports --watch -c x", "ports --watch -c x"),
            ("up -c x", "up -c x"), ("--version", "--version"), ("-h", "-h"), ("", ""), ("-c", "-c"),
            ("-c x", "-c x"),
            ("-v --help", "-v --help"), ("help up", "help up"),
        ])
    func ordered(given: String, expected: String) {
        let words = CommandWords.ordered(given.split(separator: " ").map(String.init))
        #expect(words.joined(separator: " ") == expected)
    }
}
