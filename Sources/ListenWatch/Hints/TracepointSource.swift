internal import Linux
internal import Ports

/// The events that become hints.
package enum ListenTracepoint {
    package static let name = "sock/inet_sock_set_state"
    /// Into LISTEN, or from LISTEN to CLOSE. LISTEN to SYN_RECV is left out: every accepted connection makes that
    /// step, because its socket is cloned from the listener. Protocol 6 leaves out MPTCP's twins.
    package static let filter = "protocol == 6 && (newstate == 10 || (oldstate == 10 && newstate == 7))"
}

/// Hints from the tracepoint `sock:inet_sock_set_state`: a few microseconds after each listen(2) and each close of a
/// listener, in every network namespace.
final class TracepointSource: HintSource {
    let push = PushLevel.tracepoint
    private let format: SocketStateFormat
    private let rings: CPURings

    /// Opens a ring on every CPU. `tracefs` finds the tracepoint's files, `onlineCPUs` the CPUs of now.
    init(
        tracefs: TraceFS, onlineCPUs: @escaping () -> [Int32], filter: String = ListenTracepoint.filter
    ) throws(HintSourceLost) {
        let description = try tracefs.event(ListenTracepoint.name)
        guard let format = SocketStateFormat(TraceFormat(text: description.format)) else {
            throw HintSourceLost(description: "inet_sock_set_state has an unknown record format")
        }
        self.format = format
        let event = PerfRing.Event.tracepoint(description.id, filter: filter)
        rings = try CPURings(onlineCPUs: onlineCPUs) { (cpu) throws(SystemError) in
            try PerfRing(event, cpu: cpu)
        }
    }

    var descriptors: [Int32] { rings.descriptors }

    /// The last event of a tracepoint takes it away: the kernel then waits for every CPU.
    var slowToClose: [Int32] { rings.events }

    func hasFailed(_ wake: Poller.Wake) -> Bool { rings.hasFailed(wake) }

    func drain(into batch: inout HintBatch, after wake: Poller.Wake = .unknown) {
        rings.drain(into: &batch, after: wake, hint: format.hint)
    }

    func refresh() throws(HintSourceLost) -> Bool { try rings.refresh() }

    func reopen() throws(HintSourceLost) { try rings.reopen() }
}
