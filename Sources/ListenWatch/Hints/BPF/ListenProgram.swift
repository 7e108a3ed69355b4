internal import CLinux
internal import Linux
internal import Ports

/// The two programs that run in the kernel: after a listen(2) that succeeded, and when a listener ends.
///
/// Both functions are called for listeners alone, with the socket as first argument (net/ipv4/inet_connection_sock.c). The first
/// has put the socket where it can be found when it returns. When the second begins, the socket can't be found any more; its port
/// is then in `inet_sport` only, `skc_num` being 0 where the kernel chose it. An MPTCP socket has a TCP socket that listens for
/// it, and only that one comes here.
///
/// The kernel gives `bpf_probe_read_kernel` and `bpf_perf_event_output` to programs under a licence that goes with its own only.
/// rum is under Apache-2.0, which does not. So what `instructions` returns, and nothing else, may be had under the MIT licence or
/// GPL-2.0 as well, and says so to the kernel.
struct ListenProgram {
    static let licence = "Dual MIT/GPL"

    enum Moment: UInt16, CaseIterable {
        case opened = 1
        case closed

        var function: String {
            switch self {
            case .opened: "inet_csk_listen_start"
            case .closed: "inet_csk_listen_stop"
            }
        }

        /// The first is done when the function has returned.
        var attachment: clinux_bpf_moment { self == .opened ? CLINUX_BPF_EXIT : CLINUX_BPF_ENTRY }
    }

    /// Where this kernel has what the programs read.
    struct Layout: Equatable {
        private var start, stop: KernelTypes.Function
        /// In `struct sock`: the network namespace, and the number in that namespace (`ns.inum`).
        var namespace, namespaceNumber: Int32
        /// In `struct sock`.
        var family, port, v4, v6: Int32

        /// `bytes` is the kernel's description of its types.
        init(_ bytes: UnsafeRawBufferPointer) throws(KernelTypesError) {
            let types = try KernelTypes(
                bytes, functions: Moment.allCases.map(\.function),
                structures: ["sock_common", "inet_sock", "net"])
            namespace = try types.offset(of: ["skc_net", "net"], in: "sock_common", size: 8)
            namespaceNumber = try types.offset(of: ["ns", "inum"], in: "net", size: 4)
            family = try types.offset(of: ["skc_family"], in: "sock_common", size: 2)
            port = try types.offset(of: ["inet_sport"], in: "inet_sock", size: 2)
            v4 = try types.offset(of: ["skc_rcv_saddr"], in: "sock_common", size: 4)
            v6 = try types.offset(of: ["skc_v6_rcv_saddr"], in: "sock_common", size: 16)
            start = try types.function(Moment.opened.function)
            stop = try types.function(Moment.closed.function)
        }

        func function(_ moment: Moment) -> KernelTypes.Function { moment == .opened ? start : stop }
    }

    /// What a program writes: moment and family (2 bytes each), the port as in the network (2), zeros (2), the addresses as
    /// either family has them (4, and after 4 zeros 16). The one of the other family means nothing.
    private enum Record {
        static let family = 2, port = 4, v4 = 8, v6 = 16, size = 32
    }

    let layout: Layout
    /// The number of the network namespace whose listeners are reported, as in `ns/net` of /proc.
    let namespaceNumber: UInt32

    /// The instructions of one of the programs. `events` is the map of the rings.
    func instructions(_ moment: Moment, events: Int32) -> [UInt64] {
        // From the end of the stack: the record, and before it what is read on the way.
        let (record, scratch) = (Int16(-Record.size), Int16(-Record.size - 8))
        var code = BPFAssembler()
        code.move(.r6, .r1)
        if moment == .opened {
            // Arguments of eight bytes each, then the result.
            let result = 8 * layout.function(moment).parameterCount
            code.load(.word, .r0, from: .r6, Int16(truncatingIfNeeded: result))
            code.endUnless(.r0, is: 0)
        }
        code.load(.double, .r7, from: .r6, 0)
        code.read(8, at: layout.namespace, from: .r7, into: scratch)
        code.load(.double, .r8, from: .stack, scratch)
        code.read(4, at: layout.namespaceNumber, from: .r8, into: scratch)
        code.load(.word, .r0, from: .stack, scratch)
        code.endUnless(.r0, is: namespaceNumber)

        code.store(.double, .stack, record, value: Int32(moment.rawValue))
        code.store(.double, .stack, record + Int16(Record.v4), value: 0)
        code.read(2, at: layout.family, from: .r7, into: record + Int16(Record.family))
        code.read(2, at: layout.port, from: .r7, into: record + Int16(Record.port))
        code.read(4, at: layout.v4, from: .r7, into: record + Int16(Record.v4))
        code.read(16, at: layout.v6, from: .r7, into: record + Int16(Record.v6))

        code.move(.r1, .r6)
        code.loadMap(.r2, events)
        // BPF_F_CURRENT_CPU
        code.move(.r3, unsigned: .max)
        code.move(.r4, .stack)
        code.add(.r4, Int32(record))
        code.move(.r5, Int32(Record.size))
        code.call(.perfEventOutput)
        return code.finished()
    }

    /// The hint in a record, nil when it is none of ours.
    static func hint(_ sample: PerfRing.Sample) -> ListenHint? {
        let record = sample.fields
        guard record.count >= Record.size,
            let moment = Moment(rawValue: record.loadUnaligned(as: UInt16.self))
        else { return nil }
        let port = UInt16(bigEndian: record.loadUnaligned(fromByteOffset: Record.port, as: UInt16.self))
        return ListenHint(
            moment == .opened ? .opened : .closed, in: sample, port: PortNumber(port), family: Record.family,
            v4: Record.v4, v6: Record.v6, isOurs: true)
    }
}

extension BPFAssembler {
    /// Copies kernel memory to the stack; zeros where it can't be read. Takes r1 to r3, leaves r0 to r5 lost.
    fileprivate mutating func read(_ size: Int32, at offset: Int32, from base: Register, into place: Int16) {
        move(.r1, .stack)
        add(.r1, Int32(place))
        move(.r2, size)
        move(.r3, base)
        add(.r3, offset)
        call(.probeReadKernel)
    }
}
