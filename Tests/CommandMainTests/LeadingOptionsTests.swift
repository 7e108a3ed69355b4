import ArgumentParser
import Testing

@testable import CommandMain

@Suite("Options before the command's name")
struct LeadingOptionsTests {
    private struct Root: ParsableCommand {
        static let configuration = CommandConfiguration(subcommands: [Up.self, Ports.self])
    }
    private struct Up: ParsableCommand {
        static let configuration = CommandConfiguration(commandName: "up", aliases: ["start"])
    }
    private struct Ports: ParsableCommand {
        static let configuration = CommandConfiguration(commandName: "ports", subcommands: [Why.self])
    }
    private struct Why: ParsableCommand {
        static let configuration = CommandConfiguration(commandName: "why")
    }

    @Test(
        "They are moved behind it, and nothing else is",
        arguments: [
            ("-c f up", "up -c f"), ("-cf up", "up -cf"), ("--config f up --reset", "up --config f --reset"),
            ("--config=f -v up x", "up --config=f -v x"), ("-v start", "start -v"),
            ("-v -c f ports why 80", "ports why -v -c f 80"), ("-v ports 80", "ports -v 80"),
            ("ports -c f why 80 -v", "ports why -c f 80 -v"), ("ports -v dev", "ports -v dev"),
            ("-c f up -- -c y", "up -c f -- -c y"),
            ("up -c f", "up -c f"), ("-c f", "-c f"), ("-c", "-c"), ("", ""), ("-v sideways", "-v sideways"),
            ("-x up", "-x up"), ("--configure f up", "--configure f up"), ("-- -v up", "-- -v up"),
            ("-v", "-v"), ("--help", "--help"),
        ])
    func moves(given: String, wanted: String) {
        let options = LeadingOptions(flags: ["-v"], valued: ["-c", "--config"])
        let words = given.split(separator: " ").map(String.init)
        #expect(options.behindCommand(words, of: Root.self).joined(separator: " ") == wanted)
    }

    private struct Group: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "group", subcommands: [Wait.self, Show.self], defaultSubcommand: Show.self)
    }
    private struct Wait: ParsableCommand {
        static let configuration = CommandConfiguration(commandName: "wait")
    }
    private struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(commandName: "show")
    }
    private struct Program: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "program", subcommands: [Up.self, Group.self])
    }

    @Test(
        "A command that does not exist is told, with the one that was probably meant",
        arguments: [
            ("ups", "there is no command 'program ups'; did you mean 'program up'?"),
            ("-v sideways x", "there is no command 'program sideways'"),
            (
                "group -v wiat 5001",
                "there is no command 'program group wiat'; did you mean 'program group wait'?"
            ),
            // Of a group that takes other words: the parser's own words are right.
            ("group dev x", nil), ("group wait", nil), ("up x", nil), ("-v", nil), ("--fast up", nil),
        ])
    func unknown(given: String, message: String?) {
        let options = LeadingOptions(flags: ["-v"], valued: ["-c"])
        let unknown = options.unknownCommand(given.split(separator: " ").map(String.init), of: Program.self)
        #expect(unknown?.message(insteadOf: "Error: Unexpected argument 'x'") == message)
    }

    @Test("What is wrong with an option of a group's own command is not blamed on its name")
    func option() {
        let unknown = LeadingOptions().unknownCommand(["group", "wiat", "--fast"], of: Program.self)
        #expect(unknown?.message(insteadOf: "Error: Unknown option '--fast'") == nil)
    }
}
