internal import Glibc
internal import Linux
internal import SockDiag

/// A ring on every CPU that runs, kept so while CPUs go on and off: an event neither spreads to a CPU nor comes back with it.
final class CPURings {
    private let onlineCPUs: () -> [Int32]
    private let open: (Int32) throws(SystemError) -> PerfRing
    private var rings: [PerfRing] = []
    /// nil where the kernel's news of CPUs can't be received; new ones are then found at the next `refresh`.
    private let cpuChanges = try? CPUChanges()
    /// CPUs that were off since their ring was opened: the ring is dead, though the CPU may be on again.
    private var staleCPUs: Set<Int32> = []

    /// `onlineCPUs` tells the CPUs of now, none when nobody can tell; `open` opens the ring of one.
    init(
        onlineCPUs: @escaping () -> [Int32], open: @escaping (Int32) throws(SystemError) -> PerfRing
    ) throws(HintSourceLost) {
        (self.onlineCPUs, self.open) = (onlineCPUs, open)
        _ = try refresh()
        guard !rings.isEmpty else { throw HintSourceLost(description: "no CPU is online") }
    }

    /// As `HintSource.descriptors`.
    var descriptors: [Int32] { events + (cpuChanges.map { [$0.descriptor] } ?? []) }

    /// The rings' own.
    var events: [Int32] { rings.map(\.descriptor) }

    /// As `HintSource.hasFailed`. An error of the news of CPUs says that some are missing, and is read with them.
    func hasFailed(_ wake: Poller.Wake) -> Bool { rings.contains { wake.hasFailed($0.descriptor) } }

    /// As `HintSource.drain`; `hint` reads one record.
    func drain(
        into batch: inout HintBatch, after wake: Poller.Wake, hint: (PerfRing.Sample) -> ListenHint?
    ) {
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
                case .sample(let sample): if let hint = hint(sample) { hints.append(hint) }
                case .lost: lost = true
                }
            }
            batch.hints += hints
            batch.lost = batch.lost || lost
            batch.nearlyFull = batch.nearlyFull || nearlyFull
        }
    }

    /// As `HintSource.reopen`.
    func reopen() throws(HintSourceLost) {
        staleCPUs.formUnion(rings.map(\.cpu))
        _ = try refresh()
    }

    /// As `HintSource.refresh`: opens rings on CPUs that came online, again where they had been before.
    func refresh() throws(HintSourceLost) -> Bool {
        let online = onlineCPUs()
        // No CPU at all means that nobody could tell: the rings there are go on.
        if online.isEmpty { return false }
        var kept = rings.filter { online.contains($0.cpu) && !staleCPUs.contains($0.cpu) }
        var changed = rings.count != kept.count
        for cpu in online where !kept.contains(where: { $0.cpu == cpu }) {
            do {
                kept.append(try open(cpu))
                changed = true
            } catch {
                // Gone offline between the list and the call: its own absence is no loss.
                if error.code == ENODEV { continue }
                let cure =
                    error.isPermission
                    ? HintPermission.perfEvents(held: Capability.effective, paranoid: HintPermission.paranoid)
                    : nil
                throw HintSourceLost(error, doing: "on CPU \(cpu)", cure: cure)
            }
        }
        // Only now are the old ones closed: the event of a tracepoint that is not its last one is closed at once.
        (rings, staleCPUs) = (kept, [])
        return changed
    }
}
