internal import Linux
internal import Ports
internal import ProcNet

/// Hints from programs at the kernel's own functions for listeners (`ListenProgram`): a connection meets none of them, and
/// listeners of other network namespaces are left out in the kernel. A listener can be found when its record comes.
final class BPFSource: HintSource {
    let push = PushLevel.bpf
    private let programs: [BPFProgram]
    private let rings: CPURings

    /// Loads the programs for the calling thread's network namespace, and opens a ring on every CPU. `types` is the file with the
    /// kernel's types, `processRoot` the directory of processes, `onlineCPUs` tells the CPUs of now.
    init(types: String, processRoot: String, onlineCPUs: @escaping () -> [Int32]) throws(HintSourceLost) {
        // First of all, since some kernels let nobody: to read the types takes milliseconds.
        try BPFProgram.checkAllowed()
        let program = ListenProgram(
            layout: try KernelTypesFile.read(types, ListenProgram.Layout.init),
            namespaceNumber: try Self.namespaceNumber(processRoot))
        let events: BPFEventMap
        (events, programs) = try Self.load(program)
        rings = try CPURings(onlineCPUs: onlineCPUs) { (cpu) throws(SystemError) in
            let ring = try PerfRing(.programs, cpu: cpu)
            try events.set(ring)
            return ring
        }
    }

    var descriptors: [Int32] { rings.descriptors }

    var slowToClose: [Int32] { programs.map(\.descriptor) }

    func hasFailed(_ wake: Poller.Wake) -> Bool { rings.hasFailed(wake) }

    func drain(into batch: inout HintBatch, after wake: Poller.Wake) {
        rings.drain(into: &batch, after: wake, hint: ListenProgram.hint)
    }

    func refresh() throws(HintSourceLost) -> Bool { try rings.refresh() }

    func reopen() throws(HintSourceLost) { try rings.reopen() }

    private static func load(_ program: ListenProgram) throws(HintSourceLost) -> (BPFEventMap, [BPFProgram]) {
        let events: BPFEventMap
        do {
            events = try BPFEventMap()
        } catch {
            throw HintSourceLost(error, doing: "making a map")
        }
        let programs = try ListenProgram.Moment.allCases.map { (moment) throws(HintSourceLost) in
            try BPFProgram(
                program.instructions(moment, events: events.descriptor), at: program.layout.function(moment),
                moment.attachment, licence: ListenProgram.licence)
        }
        return (events, programs)
    }

    private static func namespaceNumber(_ processRoot: String) throws(HintSourceLost) -> UInt32 {
        do {
            return UInt32(
                truncatingIfNeeded: try NetworkNamespaceNumber.of("thread-self", in: processRoot))
        } catch {
            throw HintSourceLost(error, doing: "the network namespace")
        }
    }
}
