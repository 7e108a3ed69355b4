import ArgumentParser
import CommandMain
import Control
import Linux
import Ports

struct PortsWhy: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "why", abstract: "Say in one sentence why a port is or is not forwarded.",
        usage: "rum ports why <port> [<name>] [-c <file>] [--json]")

    @OptionGroup var words: PortWords
    @OptionGroup var talk: TalkOptions
    @Argument(
        help: ArgumentHelp("A port of the host or the guest, and the machine's name.", valueName: "port"),
        completion: PortCompletion.hostPorts)
    var own: [String] = []
    @Flag(help: "Print one JSON object.") var json = false

    func validate() throws { _ = try words.split(own, as: PortNumber.self) }

    func run() async throws {
        let (port, choice) = try words.split(own, as: PortNumber.self)
        let answer = try await choice.forwarded().answer(.why(port: port.rawValue))
        try await PortQuestion.tell(answer, port: port, json: json)
    }
}

struct PortsAdd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Forward a host port to a guest port until forwarding ends.",
        usage: "rum ports add [<bind>:]<host>:<guest> [<name>] [-c <file>] [--json]",
        discussion: """
            It lasts as long as the process that forwards: until the machine stops, or that `rum up` ends. [[ports]] \
            in rum.toml makes it last. An IPv6 address is written in brackets.
            """)

    @OptionGroup var arguments: ForwardChangeArguments

    func run() async throws { try await arguments.ask { .add($0) } }
}

struct PortsRemove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm", abstract: "Stop forwarding a static port.",
        usage: "rum ports rm [<bind>:]<host>:<guest> [<name>] [-c <file>] [--json]",
        discussion: "One of rum.toml comes back with the next `rum up`.")

    @OptionGroup var arguments: ForwardChangeArguments

    func run() async throws { try await arguments.ask { .remove($0) } }
}

/// The arguments of the commands that change a static forward.
struct ForwardChangeArguments: ParsableArguments {
    @OptionGroup var words: PortWords
    @OptionGroup var talk: TalkOptions
    @Argument(
        help: ArgumentHelp("The forward, and the machine's name.", valueName: "[bind:]host:guest"),
        completion: PortCompletion.staticForwards)
    var own: [String] = []
    @Flag(help: "Print one JSON object.") var json = false

    private var forward: (StaticPort, MachineChoice) {
        get throws(ValidationError) {
            try words.split(own, as: StaticPort.self)
        }
    }

    func validate() throws { _ = try forward }

    /// Has the owner make the change, and tells what has come of it.
    func ask(_ request: (ControlForward) -> ControlRequest) async throws {
        let (port, choice) = try forward
        let answer = try await choice.forwarded().answer(request(ControlForward(port)))
        try await PortQuestion.tellChange(answer, port: port.host, json: json)
    }
}

extension ControlForward {
    init(_ port: StaticPort) {
        self.init(bind: port.bind.text, host: port.host.rawValue, guest: port.guest.rawValue)
    }
}

/// What the commands about one port have in common.
enum PortQuestion {
    /// The sentence is the data; what to do is talk. As JSON it is all in one object.
    static func tell(_ answer: ControlAnswer, port: PortNumber?, json: Bool) async throws {
        if json {
            let document = PortAnswerDocument(port: port?.rawValue, answer: answer)
            return try await StandardOutput.line(document.jsonLine)
        }
        try await StandardOutput.line(answer.sentence.printable(limit: 1000))
        if let hint = answer.hint { StandardError.line("hint: \(hint.printable(limit: 1000))") }
    }

    /// The same of something that was to be done: what was not is a failure. As JSON it is an object as well.
    static func tellChange(_ answer: ControlAnswer, port: PortNumber?, json: Bool) async throws {
        guard answer.isDone || json else { throw CommandFailure(answer.sentence, hint: answer.hint) }
        try await tell(answer, port: port, json: json)
        if !answer.isDone { throw ExitCode(ExitStatus.failed.rawValue) }
    }
}

/// The JSON of an answer about a port.
struct PortAnswerDocument: Encodable {
    /// nil where it is about all.
    let port: UInt16?
    let answer: ControlAnswer

    enum CodingKeys: String, CodingKey {
        case port, done, reason, sentence, hint
    }

    func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(port, forKey: .port)
        try values.encode(answer.isDone, forKey: .done)
        try values.encode(answer.reason, forKey: .reason)
        try values.encode(answer.sentence, forKey: .sentence)
        try values.encode(answer.hint, forKey: .hint)
    }
}
