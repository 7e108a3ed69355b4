import ArgumentParser
import CommandMain
import Control
import Linux
import Ports

struct PortsWait: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait", abstract: "Wait until a host port accepts connections, or its program is ready.",
        usage:
            "rum ports wait <port> [<name>] [-c <file>] [--ready] [--http <status>] [--path <path>] [--timeout <time>] [--json]",
        discussion: """
            Exit code 0 once it does, 1 with the reason when it does not in time, or never will. With --ready, once a \
            program of the guest has accepted a connection, too; with --http, once it has answered a request for / in \
            plain HTTP with this status besides.
            """)

    @OptionGroup var words: PortWords
    @OptionGroup var talk: TalkOptions
    @Argument(
        help: ArgumentHelp("The host port, and the machine's name.", valueName: "port"),
        completion: PortCompletion.hostPorts)
    var own: [String] = []
    @Flag(help: "Wait until the program accepts connections, not only the host port.") var ready = false
    @Option(
        help: ArgumentHelp(
            "Wait until GET answers with this status, or with any below 500; includes --ready.",
            valueName: "status|any"),
        transform: HTTPStatusArgument.read)
    var http: HTTPStatusArgument?
    @Option(help: "What --http asks for.") var path = "/"
    @Option(
        help: "How long to wait, such as 500ms, 30s or 2m (default: 30s).", transform: DurationArgument.read)
    var timeout = DurationArgument(.seconds(30))
    @Flag(help: "Print one JSON object.") var json = false

    func validate() throws {
        _ = try words.split(own, as: PortNumber.self)
        if http == nil, path != "/" { throw ValidationError("--path is about --http, which is missing") }
        guard ControlHTTPCheck(path: path).isValid else {
            throw ValidationError(
                "--path: expected one that begins with / and has no spaces, not \"\(path)\"")
        }
    }

    func run() async throws {
        let signals = TerminationSignals.stream()
        let (port, choice) = try words.split(own, as: PortNumber.self)
        let forwarded = try choice.forwarded()
        let question = PortWait(
            port: port, isReady: ready, http: http.map { ControlHTTPCheck(status: $0.status, path: path) })
        try await Foreground.run(until: signals) {
            var found = try await question.answer(forwarded.link, until: .now + timeout.duration)
            if found == nil { found = await forwarded.withoutOwner() }
            guard let answer = found else { return }
            try await PortQuestion.tell(answer, port: port, json: json)
            if !answer.isDone { throw ExitCode(ExitStatus.failed.rawValue) }
        }
    }
}

/// `200`, or `any` for all below 500.
struct HTTPStatusArgument: ExpectedArgument {
    static let expected = "a status from 100 to 599, or any"

    let status: Int?

    init?(argument: String) {
        let number = Int(argument)
        guard argument == "any" || number.map((100...599).contains) ?? false else { return nil }
        status = number
    }
}

/// What is waited for at a host port.
struct PortWait: Sendable {
    let port: PortNumber
    /// Its program is to have accepted a connection.
    var isReady = true
    var http: ControlHTTPCheck?

    /// Waits for the owner too: one that is being started serves soon. nil when none does in time.
    func answer(_ link: OwnerLink, until deadline: ContinuousClock.Instant) async throws -> ControlAnswer? {
        while true {
            let rest = max(.zero, deadline - .now)
            if let answer = try await link.answer(request(rest), within: rest) { return answer }
            guard ContinuousClock.now < deadline else { return nil }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    private func request(_ time: Duration) -> ControlRequest {
        let (number, seconds) = (port.rawValue, time / .seconds(1))
        guard isReady || http != nil else { return .wait(port: number, seconds: seconds) }
        return .ready(port: number, seconds: seconds, http: http)
    }
}
