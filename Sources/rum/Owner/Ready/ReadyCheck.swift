import AgentAPI
import AgentChannel
import AgentSession
import Control
import Glibc
import Linux
import PortForward
import Ports

/// Finds out, try by try, whether the program behind a forward is ready: it has accepted a connection, and answers an HTTP
/// request as it should where that is asked for.
struct ReadyCheck {
    /// A dev server may build the page first.
    private static let longestRequest = Duration.seconds(30)

    let guest: GuestQuestions
    let http: ControlHTTPCheck?
    /// A connection to the program that it has not accepted yet, as far as known. One for all tries: each would stay in
    /// the queue of a program that hangs.
    private var visitor: GuestTunnel?
    /// The program that has accepted it, or what is known of it.
    private var accepted: String?
    /// What the try before has shown.
    private var earlier: ControlAnswer?

    init(guest: GuestQuestions, http: ControlHTTPCheck?) {
        self.guest = guest
        self.http = http
    }

    /// One try, which ends at the deadline.
    mutating func answer(
        _ forward: WantedForward.Key, until deadline: ContinuousClock.Instant
    ) async -> ControlAnswer {
        let answer = await attempt(forward, until: deadline)
        // One that was cut short tells less than the one before.
        if !answer.isDone, ContinuousClock.now >= deadline, let earlier { return earlier }
        earlier = answer
        return answer
    }

    private mutating func attempt(
        _ forward: WantedForward.Key, until deadline: ContinuousClock.Instant
    ) async -> ControlAnswer {
        let way = "\(forward.hostText) → guest:\(forward.guestPort)"
        if accepted == nil, let problem = await visit(forward.guestPort, way, until: deadline) {
            return problem
        }
        let words = "\(way), where \(accepted ?? "a program") accepts connections"
        guard let http else { return ControlAnswer(isDone: true, reason: "ready", sentence: words) }
        let probe = HTTPProbe(
            target: .tcp(forward.reachableAddress, port: forward.hostPort.rawValue), path: http.path,
            host: "localhost:\(forward.hostPort)")
        let outcome = await probe.outcome(within: min(deadline - .now, Self.longestRequest))
        if case .status(let status) = outcome, http.accepts(status) {
            return ControlAnswer(
                isDone: true, reason: "ready",
                sentence: "\(words) and answers GET \(http.path) with \(status)")
        }
        return Self.problem(outcome, http, words)
    }

    // MARK: - A connection of our own

    /// Connects, and sees whether the connection is accepted; nil when it is.
    private mutating func visit(
        _ port: PortNumber, _ way: String, until deadline: ContinuousClock.Instant
    ) async -> ControlAnswer? {
        guard let state = await connected(to: port, until: deadline)?.state else {
            return Self.nobody(port, way)
        }
        // nil in it is an agent that is too old to tell of queues.
        guard
            let all = await guest.ask(
                until: deadline, { try await $0.explainPort(port, timeout: GuestQuestions.explanation) })
        else {
            return ControlAnswer(
                isDone: false, reason: "unknown",
                sentence:
                    "\(way) is open, but the guest's agent did not tell in time whether its program accepts",
                hint: "the guest is busy, or stands still: `rum status` tells whether its agent answers")
        }
        let own = (all?.listeners ?? []).filter { $0.networkNamespace == nil }
        if all != nil, own.isEmpty, state != .talks {
            // The end of its connection was that of its listener.
            visitor = nil
            return Self.nobody(port, way)
        }
        // In a queue that has been seen empty since, nobody waits any more.
        guard state == .silent, let full = own.first(where: { $0.queue.map { $0.waiting > 0 } ?? false })
        else {
            accepted = own.first?.socket.program ?? "a program"
            visitor = nil
            return nil
        }
        return ControlAnswer(
            isDone: false, reason: "not_accepting",
            sentence: """
                \(way) is open, but \(full.socket.program) has not accepted a connection yet: \
                \(full.queue?.waiting ?? 0) wait
                """,
            hint: "the program is starting, busy, or hangs; look at it in the guest")
    }

    private static func nobody(_ port: PortNumber, _ way: String) -> ControlAnswer {
        ControlAnswer(
            isDone: false, reason: "nothing_listens",
            sentence: "\(way) is open, but nothing in the guest accepts connections on port \(port)",
            hint: "start the program in the guest; `rum ports why \(port)` tells more")
    }

    private mutating func connected(
        to port: PortNumber, until deadline: ContinuousClock.Instant
    ) async -> GuestTunnel? {
        if let visitor { return visitor }
        visitor = await guest.visit(port, until: deadline)
        return visitor
    }

    private static func problem(
        _ outcome: HTTPProbe.Outcome, _ http: ControlHTTPCheck, _ words: String
    ) -> ControlAnswer {
        func no(_ reason: String, _ what: String, _ hint: String) -> ControlAnswer {
            ControlAnswer(isDone: false, reason: reason, sentence: "\(words), but \(what)", hint: hint)
        }
        let look = "look at the program in the guest"
        return switch outcome {
        case .status(let status):
            no(
                "http_status",
                "answers GET \(http.path) with \(status)\(http.status.map { ", not \($0)" } ?? "")", look)
        case .notHTTP:
            no("no_http", "does not answer GET \(http.path) in plain HTTP", "leave --http out: --ready")
        case .cutOff: no("no_http", "closes the connection without an answer to GET \(http.path)", look)
        case .late: no("no_http", "has not answered GET \(http.path) in time", look)
        case .failed(let error): no("no_http", "GET \(http.path) failed: \(error.reason)", look)
        }
    }
}

extension GuestTunnel {
    fileprivate enum State {
        /// It has said something, so it is accepted.
        case talks
        case silent
        case gone
    }

    fileprivate var state: State {
        var byte: UInt8 = 0
        let count = recv(socket.rawValue, &byte, 1, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT))
        if count > 0 { return .talks }
        return count < 0 && (errno == EAGAIN || errno == EINTR) ? .silent : .gone
    }
}

extension GuestQuestions {
    /// A connection to a port of the guest; nil when nobody takes it.
    fileprivate func visit(_ port: PortNumber, until deadline: ContinuousClock.Instant) async -> GuestTunnel?
    {
        guard let tunnel = try? await GuestTunnel.dial(address),
            (try? await tunnel.greet(port, token: token ?? .none, within: deadline - .now)) == .connected
        else { return nil }
        // A program that serves one client at a time must not wait for words that never come.
        shutdown(tunnel.socket.rawValue, Int32(SHUT_WR))
        return tunnel
    }
}

extension WantedForward.Key {
    /// An address of this host at which the forward can be reached from this host.
    fileprivate var reachableAddress: IPAddress {
        switch bind.addresses.first {
        case .anyV4?, nil: .loopbackV4
        case .anyV6?: .loopbackV6
        case let address?: address
        }
    }
}
