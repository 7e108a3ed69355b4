import ArgumentParser
import CommandMain
import Control
import Foundation
import Linux
import Machine
import Ports
import RumConfig

struct PortsWait: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait", abstract: "Wait until a host port accepts connections.",
        usage: "rum ports wait <port> [<name>] [-c <file>] [--timeout <time>] [--json]",
        discussion: "Exit code 0 once it does, 1 with the reason when it does not in time, or never will.")

    @OptionGroup var words: PortWords
    @OptionGroup var talk: TalkOptions
    @Argument(help: ArgumentHelp("The host port, and the machine's name.", valueName: "port")) var own:
        [String] = []
    @Option(help: "How long to wait, such as 500ms, 30s or 2m.") var timeout = DurationArgument(.seconds(30))
    @Flag(help: "Print one JSON object.") var json = false

    func validate() throws { _ = try words.split(own, as: PortNumber.self, "port") }

    func run() async throws {
        let signals = TerminationSignals.stream()
        let (port, name) = try words.split(own, as: PortNumber.self, "port")
        let machine = try words.machine(named: name)
        try await Foreground.run(until: signals) {
            var found = try await wait(for: port, OwnerLink(machine))
            if found == nil { found = await PortQuestion.withoutOwner(machine) }
            guard let answer = found else { return }
            try await PortQuestion.tell(answer, port: port, json: json)
            if !answer.isDone { throw ExitCode(ExitStatus.failed.rawValue) }
        }
    }

    /// Waits for the owner too: one that is being started serves soon. nil when none does in time.
    private func wait(for port: PortNumber, _ link: OwnerLink) async throws -> ControlAnswer? {
        let deadline = ContinuousClock.now + timeout.duration
        while true {
            let rest = max(.zero, deadline - .now)
            let request = ControlRequest.wait(port: port.rawValue, seconds: rest / .seconds(1))
            if let answer = try await link.answer(request, within: rest) { return answer }
            guard ContinuousClock.now < deadline else { return nil }
            try await Task.sleep(for: .milliseconds(100))
        }
    }
}

struct PortsWhy: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "why", abstract: "Say in one sentence why a port is or is not forwarded.",
        usage: "rum ports why <port> [<name>] [-c <file>] [--json]")

    @OptionGroup var words: PortWords
    @OptionGroup var talk: TalkOptions
    @Argument(
        help: ArgumentHelp("A port of the host or the guest, and the machine's name.", valueName: "port"))
    var own: [String] = []
    @Flag(help: "Print one JSON object.") var json = false

    func validate() throws { _ = try words.split(own, as: PortNumber.self, "port") }

    func run() async throws {
        let (port, name) = try words.split(own, as: PortNumber.self, "port")
        let machine = try words.machine(named: name)
        var answer = try await OwnerLink(machine).answer(.why(port: port.rawValue))
        if answer == nil { answer = await PortQuestion.withoutOwner(machine) }
        guard let answer else { return }
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

    @OptionGroup var words: PortWords
    @OptionGroup var talk: TalkOptions
    @Argument(help: ArgumentHelp("The forward, and the machine's name.", valueName: "[bind:]host:guest"))
    var own: [String] = []
    @Flag(help: "Print one JSON object.") var json = false

    func validate() throws { _ = try words.split(own, as: StaticPort.self, PortQuestion.forwardForm) }

    func run() async throws {
        let (port, name) = try words.split(own, as: StaticPort.self, PortQuestion.forwardForm)
        try await PortQuestion.change(
            .add(ControlForward(port)), port, try words.machine(named: name), json: json)
    }
}

struct PortsRemove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm", abstract: "Stop forwarding a static port.",
        usage: "rum ports rm [<bind>:]<host>:<guest> [<name>] [-c <file>] [--json]",
        discussion: "One of rum.toml comes back with the next `rum up`.")

    @OptionGroup var words: PortWords
    @OptionGroup var talk: TalkOptions
    @Argument(help: ArgumentHelp("The forward, and the machine's name.", valueName: "[bind:]host:guest"))
    var own: [String] = []
    @Flag(help: "Print one JSON object.") var json = false

    func validate() throws { _ = try words.split(own, as: StaticPort.self, PortQuestion.forwardForm) }

    func run() async throws {
        let (port, name) = try words.split(own, as: StaticPort.self, PortQuestion.forwardForm)
        try await PortQuestion.change(
            .remove(ControlForward(port)), port, try words.machine(named: name), json: json)
    }
}

extension ControlForward {
    init(_ port: StaticPort) {
        self.init(bind: port.bind.text, host: port.host.rawValue, guest: port.guest.rawValue)
    }
}

/// What the commands about one port have in common.
enum PortQuestion {
    static let forwardForm = "forward like 8080:80 or [::1]:8080:80"

    /// Why nothing is forwarded where nobody can be asked.
    static func withoutOwner(_ machine: VirtualMachine) async -> ControlAnswer {
        let name = machine.config.name
        let state: MachineState
        do throws(MachineError) {
            state = try await machine.status().state
        } catch {
            return ControlAnswer(
                isDone: false, reason: "unknown",
                sentence: "nothing forwards the ports of \(name), and \(error.message)",
                hint: error.hint)
        }
        switch state {
        case .running, .paused, .sleeping, .shuttingDown:
            let failure = CommandFailure.nothingForwards(name)
            return ControlAnswer(
                isDone: false, reason: "no_owner",
                sentence: "\(name) is \(state.rawValue), but \(failure.message)",
                hint: failure.hint)
        case .absent, .stopped:
            let word = state == .absent ? "was never started" : "is stopped"
            return ControlAnswer(
                isDone: false, reason: "machine_stopped", sentence: "\(name) \(word)",
                hint: "`rum up -d` starts it and forwards in the background")
        }
    }

    /// The sentence is the data; what to do is talk. As JSON it is all in one object.
    static func tell(_ answer: ControlAnswer, port: PortNumber, json: Bool) async throws {
        if json {
            let document = PortAnswerDocument(port: port.rawValue, answer: answer)
            return try await StandardOutput.line(document.jsonLine)
        }
        try await StandardOutput.line(answer.sentence.printable(limit: 1000))
        if let hint = answer.hint { StandardError.line("hint: \(hint.printable(limit: 1000))") }
    }

    static func change(
        _ request: ControlRequest, _ port: StaticPort, _ machine: VirtualMachine, json: Bool
    ) async throws {
        guard let answer = try await OwnerLink(machine).answer(request) else {
            let answer = await withoutOwner(machine)
            throw CommandFailure(answer.sentence, hint: answer.hint)
        }
        guard answer.isDone else { throw CommandFailure(answer.sentence, hint: answer.hint) }
        try await tell(answer, port: port.host, json: json)
    }
}

/// The JSON of an answer about a port.
struct PortAnswerDocument: Encodable {
    let port: UInt16
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
