internal import Glibc
internal import Linux
internal import Ports

/// The news that a socket may have begun or ceased to listen. Never state: it may concern another network
/// namespace, and it may come before the socket can be found.
struct ListenHint: Equatable {
    enum Kind { case opened, closed }

    var kind: Kind
    var address: IPAddress
    /// nil when listen(2) itself will choose the port, after this event.
    var port: PortNumber?
    /// The process that made the call, in our pid namespace; nil when it is in none of ours.
    var pid: Int32?
    var time: MonotonicTime
    /// The thread of `pid` that made the call; network namespaces belong to threads (setns(2)).
    var thread: Int32?
    /// The kernel has said that the socket is of our network namespace.
    var isOurs = false
}

extension ListenHint {
    /// The hint in a record of a ring. `family` (2 bytes, AF_INET or AF_INET6), `v4` and `v6` are the places of its fields, which it
    /// must have; nil when it is of another family.
    init?(
        _ kind: Kind, in sample: PerfRing.Sample, port: PortNumber?, family: Int, v4: Int, v6: Int,
        isOurs: Bool = false
    ) {
        let record = sample.fields
        let address: IPAddress
        switch Int32(record.loadUnaligned(fromByteOffset: family, as: UInt16.self)) {
        case AF_INET:
            address = IPAddress(v4At: UnsafeRawBufferPointer(rebasing: record[v4...]))
        case AF_INET6:
            address = IPAddress(v6At: UnsafeRawBufferPointer(rebasing: record[v6...]))
        default: return nil
        }
        self.init(
            kind: kind, address: address, port: port, pid: sample.pid > 0 ? sample.pid : nil,
            time: sample.time, thread: sample.thread > 0 ? sample.thread : nil, isOurs: isOurs)
    }
}

/// What one reading of a hint source brought.
struct HintBatch {
    var hints: [ListenHint] = []
    /// Hints are known to be missing: look at everything.
    var lost = false
    /// So many came at once that the newest may be missing without a trace: look at everything a little later.
    var nearlyFull = false
    /// The source must adapt to the machine: `refresh` is called before anything else is done.
    var needsRefresh = false
}
