import ArgumentParser
import CommandMain
import Control
import Linux
import Machine
import Ports
import RumConfig

struct PortsAllow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "allow", abstract: "Say yes to a port whose rule asks.",
        usage: "rum ports allow <port> [<name>] [-c <file>] [--json]",
        discussion: """
            It is forwarded at once if something listens there, and from now on, also after a new start, until \
            `rum ports deny` or `rum ports forget`. The port is the guest's.
            """)

    @OptionGroup var words: PortWords
    @OptionGroup var talk: TalkOptions
    @Argument(help: ArgumentHelp("A port of the guest, and the machine's name.", valueName: "port"))
    var own: [String] = []
    @Flag(help: "Print one JSON object.") var json = false

    func validate() throws { _ = try words.split(own, as: PortNumber.self, "port") }

    func run() async throws { try await PortAnswers.give(.allow, words, own, json: json) }
}

struct PortsDeny: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deny", abstract: "Say no to a port whose rule asks.",
        usage: "rum ports deny <port> [<name>] [-c <file>] [--json]",
        discussion: """
            It is closed if it is open, and not asked about again until `rum ports allow` or `rum ports forget`. The \
            port is the guest's.
            """)

    @OptionGroup var words: PortWords
    @OptionGroup var talk: TalkOptions
    @Argument(help: ArgumentHelp("A port of the guest, and the machine's name.", valueName: "port"))
    var own: [String] = []
    @Flag(help: "Print one JSON object.") var json = false

    func validate() throws { _ = try words.split(own, as: PortNumber.self, "port") }

    func run() async throws { try await PortAnswers.give(.deny, words, own, json: json) }
}

struct PortsForget: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forget", abstract: "Forget what was answered about a port, or about all of them.",
        usage: "rum ports forget <port>|--all [<name>] [-c <file>] [--json]",
        discussion: "A port that something listens on is closed, and asked about again.")

    @OptionGroup var words: PortWords
    @OptionGroup var talk: TalkOptions
    @Argument(help: ArgumentHelp("A port of the guest, and the machine's name.", valueName: "port"))
    var own: [String] = []
    @Flag(help: "Forget every answer.") var all = false
    @Flag(help: "Print one JSON object.") var json = false

    func validate() throws {
        if !all { _ = try words.split(own, as: PortNumber.self, "port") }
        if all, own.count > 1 { throw ValidationError("--all is about every port: give none") }
    }

    func run() async throws {
        guard all else { return try await PortAnswers.give(nil, words, own, json: json) }
        let forwarded = try words.forwarded(named: own.first)
        if let answer = try await forwarded.link.answer(.forget(port: nil)) {
            return try await PortAnswers.tell(answer, port: nil, json: json)
        }
        let machine = try await PortAnswers.machine(of: forwarded)
        try await explained { () async throws(MachineError) in try await machine.forgetConsents() }
        try await PortAnswers.tell(.forgotten, port: nil, json: json)
    }
}

struct PortsAnswers: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "answers", abstract: "List what was answered about ports whose rule asks.",
        usage: "rum ports answers [<name>] [-c <file>] [--json]")

    @OptionGroup var options: MachineOptions
    @OptionGroup var talk: TalkOptions
    @Flag(help: "Print one JSON array.") var json = false

    struct Row: Encodable {
        let port: UInt16
        let answer: String

        enum CodingKeys: String, CodingKey {
            case answer
            case port = "guest_port"
        }
    }

    func run() async throws {
        let machine = try options.machine()
        let answers = try await explained { () async throws(MachineError) in try machine.consents() }
        let rows = answers.sorted { $0.key < $1.key }.map {
            Row(port: $0.key.rawValue, answer: $0.value.rawValue)
        }
        if json { return try await StandardOutput.line(rows.jsonLine) }
        if rows.isEmpty {
            StandardError.line("rum: nothing was answered about ports of \(machine.config.name)")
        }
        for row in rows { try await StandardOutput.line("\(row.port)\t\(row.answer)") }
    }
}

/// What the commands that answer have in common.
enum PortAnswers {
    /// - Parameter answer: nil to forget the one before.
    static func give(
        _ answer: PortConsent?, _ words: PortWords, _ own: [String], json: Bool
    ) async throws {
        let (port, name) = try words.split(own, as: PortNumber.self, "port")
        let forwarded = try words.forwarded(named: name)
        if let said = try await forwarded.link.answer(.answering(answer, about: port.rawValue)) {
            return try await tell(said, port: port, json: json)
        }
        let machine = try await Self.machine(of: forwarded)
        // Nobody forwards: it holds from the next `rum up` on.
        try await explained { () async throws(MachineError) in
            try await machine.remember(answer, about: port)
        }
        try await tell(.remembered(answer, about: port), port: port, json: json)
    }

    /// Where answers are kept without an owner; a `rum forward` keeps none, since its rules never ask.
    static func machine(of forwarded: Forwarded) async throws(CommandFailure) -> VirtualMachine {
        if case .machine(let machine) = forwarded, machine.files.exists { return machine }
        let answer = await forwarded.withoutOwner()
        throw CommandFailure(answer.sentence, hint: answer.hint)
    }

    static func tell(_ answer: ControlAnswer, port: PortNumber?, json: Bool) async throws {
        guard answer.isDone else { throw CommandFailure(answer.sentence, hint: answer.hint) }
        try await PortQuestion.tell(answer, port: port, json: json)
    }
}

extension ControlRequest {
    static func answering(_ answer: PortConsent?, about port: UInt16) -> ControlRequest {
        switch answer {
        case .allow: .allow(port: port)
        case .deny: .deny(port: port)
        case nil: .forget(port: port)
        }
    }
}

extension ControlAnswer {
    static let forgotten = ControlAnswer(
        isDone: true, reason: "forgotten", sentence: "all answers are forgotten")

    /// Of a machine whose ports nobody forwards.
    static func remembered(_ answer: PortConsent?, about port: PortNumber) -> ControlAnswer {
        switch answer {
        case .allow:
            ControlAnswer(
                isDone: true, reason: "allowed",
                sentence: "guest port \(port) is allowed from the next `rum up` on")
        case .deny:
            ControlAnswer(
                isDone: true, reason: "denied",
                sentence: "guest port \(port) is denied from the next `rum up` on")
        case nil:
            ControlAnswer(
                isDone: true, reason: "forgotten",
                sentence: "what was answered about guest port \(port) is forgotten")
        }
    }
}
