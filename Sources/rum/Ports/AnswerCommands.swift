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

    @OptionGroup var arguments: AnswerArguments

    func validate() throws { _ = try arguments.port }

    func run() async throws { try await arguments.give(.allow) }
}

struct PortsDeny: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deny", abstract: "Say no to a port whose rule asks.",
        usage: "rum ports deny <port> [<name>] [-c <file>] [--json]",
        discussion: """
            It is closed if it is open, and not asked about again until `rum ports allow` or `rum ports forget`. The \
            port is the guest's.
            """)

    @OptionGroup var arguments: AnswerArguments

    func validate() throws { _ = try arguments.port }

    func run() async throws { try await arguments.give(.deny) }
}

struct PortsForget: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forget", abstract: "Forget what was answered about a port, or about all of them.",
        usage: "rum ports forget <port>|--all [<name>] [-c <file>] [--json]",
        discussion: "A port that something listens on is closed, and asked about again.")

    @OptionGroup var arguments: AnswerArguments
    @Flag(help: "Forget every answer.") var all = false

    func validate() throws {
        if !all { _ = try arguments.port }
        if all, arguments.own.count > 1 { throw ValidationError("--all is about every port: give none") }
    }

    func run() async throws {
        if all { try await arguments.forgetAll() } else { try await arguments.give(nil) }
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
        let machine = try options.choice.machine()
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

/// The arguments of the commands that answer, and what they have in common.
struct AnswerArguments: ParsableArguments {
    @OptionGroup var words: PortWords
    @OptionGroup var talk: TalkOptions
    @Argument(
        help: ArgumentHelp("A port of the guest, and the machine's name.", valueName: "port"),
        completion: PortCompletion.guestPorts)
    var own: [String] = []
    @Flag(help: "Print one JSON object.") var json = false

    var port: (PortNumber, MachineChoice) {
        get throws(ValidationError) { try words.split(own, as: PortNumber.self) }
    }

    /// - Parameter answer: nil to forget the one before.
    func give(_ answer: PortConsent?) async throws {
        let (port, choice) = try port
        try await ask(.answering(answer, about: port.rawValue), about: port, choice) {
            machine async throws(MachineError) in
            // It holds from the next `rum up` on.
            try await machine.remember(answer, about: port)
            return .remembered(answer, about: port)
        }
    }

    func forgetAll() async throws {
        let choice = try MachineChoice(name: own.first, config: words.file.config)
        try await ask(.forget(port: nil), about: nil, choice) { machine async throws(MachineError) in
            try await machine.forgetConsents()
            return .forgotten
        }
    }

    /// - Parameter change: does it where nobody forwards. A `rum forward` keeps no answers, since its rules never ask.
    private func ask(
        _ request: ControlRequest, about port: PortNumber?, _ choice: MachineChoice,
        withoutOwner change: (VirtualMachine) async throws(MachineError) -> ControlAnswer
    ) async throws {
        let forwarded = try choice.forwarded()
        var answer = try await forwarded.link.answer(request)
        if answer == nil, case .machine(let machine) = forwarded, machine.files.exists {
            answer = try await explained { () async throws(MachineError) in try await change(machine) }
        }
        if answer == nil { answer = await forwarded.withoutOwner() }
        guard let answer else { return }
        try await PortQuestion.tellChange(answer, port: port, json: json)
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
