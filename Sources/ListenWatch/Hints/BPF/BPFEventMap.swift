internal import CLinux
internal import Linux

/// Says into which CPU's ring a program writes (BPF_MAP_TYPE_PERF_EVENT_ARRAY). It forgets its rings when it is gone.
final class BPFEventMap {
    private let map: OwnedDescriptor

    /// With a place for every CPU that this machine may ever have.
    init() throws(SystemError) {
        let count = UInt32((OnlineCPUs.possible.max() ?? 1023) + 1)
        let number = MemoryLockLimit.lifted { clinux_bpf_make_event_array(count) }
        map = OwnedDescriptor(owning: try SystemError.check("bpf", number))
    }

    /// Valid while this object lives.
    var descriptor: Int32 { map.rawValue }

    func set(_ ring: PerfRing) throws(SystemError) {
        _ = try SystemError.check(
            "bpf", clinux_bpf_set_event(map.rawValue, UInt32(ring.cpu), ring.descriptor))
    }
}
