internal import Glibc
internal import Linux
internal import Ports
internal import SockDiag

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
    private let id: UInt64
    private let filter: String
    private let format: SocketStateFormat
    private let onlineCPUs: () -> [Int32]
    private var rings: [PerfRing] = []
    /// nil where the kernel's news of CPUs can't be received; new ones are then found at the next `refresh`.
    private let cpuChanges = try? CPUChanges()
    /// CPUs that were off since their ring was opened: the ring is dead, though the CPU may be on again.
    private var staleCPUs: Set<Int32> = []

    /// Opens a ring on every CPU. `tracefs` finds the tracepoint's files, `onlineCPUs` the CPUs of now.
    init(
        tracefs: TraceFS, onlineCPUs: @escaping () -> [Int32], filter: String = ListenTracepoint.filter
    ) throws(HintSourceLost) {
        let description = try tracefs.event(ListenTracepoint.name)
        guard let format = SocketStateFormat(TraceFormat(text: description.format)) else {
            throw HintSourceLost(description: "inet_sock_set_state has an unknown record format")
        }
        (id, self.format, self.filter, self.onlineCPUs) = (description.id, format, filter, onlineCPUs)
        _ = try refresh()
        guard !rings.isEmpty else { throw HintSourceLost(description: "no CPU is online") }
    }

    var descriptors: [Int32] { rings.map(\.descriptor) + (cpuChanges.map { [$0.descriptor] } ?? []) }

    func drain(into batch: inout HintBatch, after wake: Poller.Wake = .unknown) throws(HintSourceLost) {
        if let cpuChanges, wake.mayBeReadable(cpuChanges.descriptor) {
            let news = cpuChanges.read()
            if !news.isEmpty {
                staleCPUs.formUnion(news.areIncomplete ? Set(rings.map(\.cpu)) : news.cpus)
                batch.needsRefresh = true
            }
        }
        for ring in rings {
            var hints: [ListenHint] = []
            var lost = false
            let nearlyFull = ring.drain { record in
                switch record {
                case .sample(let sample): if let hint = format.hint(sample) { hints.append(hint) }
                case .lost: lost = true
                }
            }
            batch.hints += hints
            batch.lost = batch.lost || lost
            batch.nearlyFull = batch.nearlyFull || nearlyFull
        }
    }

    func reopen() throws(HintSourceLost) {
        staleCPUs.formUnion(rings.map(\.cpu))
        _ = try refresh()
    }

    /// Opens rings on CPUs that came online, again where they had been before; an event neither spreads to a CPU nor
    /// comes back with it.
    func refresh() throws(HintSourceLost) -> Bool {
        let online = onlineCPUs()
        // No CPU at all means that nobody could tell: the rings there are go on.
        if online.isEmpty { return false }
        let before = rings.count
        rings.removeAll { !online.contains($0.cpu) || staleCPUs.contains($0.cpu) }
        staleCPUs = []
        var changed = rings.count != before
        for cpu in online where !rings.contains(where: { $0.cpu == cpu }) {
            do {
                rings.append(try PerfRing(tracepoint: id, filter: filter, cpu: cpu))
                changed = true
            } catch {
                // Gone offline between the list and the call: its own absence is no loss.
                if error.code == ENODEV { continue }
                throw HintSourceLost(description: "tracepoint on CPU \(cpu): \(error)")
            }
        }
        return changed
    }
}
