internal import Linux
internal import Ports
internal import ProcNet
internal import SockDiag

/// Something that knows which sockets listen. It lives on one thread at a time.
protocol ListenSnapshotter: AnyObject {
    var mode: ListenMode { get }
    /// Every listener whose port lies in `range`, as far as one look shows.
    func dump(of range: PortRange) throws(SnapshotFailed) -> ListenerDump
    /// The listener of exactly this address and port, nil when there is none or when only `dump` can tell.
    func listener(at address: IPAddress, port: PortNumber) throws(SnapshotFailed) -> ObservedListener?
    /// Those of `suspects`, which a dump of `range` has left out, that listen all the same.
    func stillListening(
        _ suspects: [ObservedListener], in range: PortRange
    ) throws(SnapshotFailed) -> [ObservedListener]
}

extension ListenSnapshotter {
    /// Every listener whose port lies in `range`. One of `known` that the dump may only have missed is asked for by
    /// itself before it counts as gone, because its forward would be closed.
    func listeners(
        in range: PortRange, known: () -> [ObservedListener]
    ) throws(SnapshotFailed) -> [ObservedListener] {
        let dump = try dump(of: range)
        guard dump.mayMissSome else { return dump.listeners }
        let seen = Set(dump.listeners.map(\.socket.key))
        let suspects = known().filter { !seen.contains($0.socket.key) }
        if suspects.isEmpty { return dump.listeners }
        return try dump.listeners + stillListening(suspects, in: range)
    }
}

/// A snapshot that could not be taken. The listeners are then unknown, not absent.
struct SnapshotFailed: Error, CustomStringConvertible {
    var description: String
    /// The source does not exist here or is forbidden, so another one is needed.
    var isPermanent: Bool
}

/// Snapshots by sock_diag.
final class NetlinkSnapshotter: ListenSnapshotter {
    let mode = ListenMode.netlink
    private let socket: SockDiagSnapshotter

    init() throws(SnapshotFailed) {
        do { socket = try SockDiagSnapshotter() } catch { throw SnapshotFailed(error) }
    }

    /// Opens one that is known to work.
    static func open() throws(SnapshotFailed) -> any ListenSnapshotter {
        let netlink = try NetlinkSnapshotter()
        // Only a question makes the kernel load the TCP part, so only an answer shows that it is there.
        _ = try netlink.dump(of: .all)
        return netlink
    }

    func dump(of range: PortRange) throws(SnapshotFailed) -> ListenerDump {
        do { return try socket.dump(of: range) } catch { throw SnapshotFailed(error) }
    }

    func listener(at address: IPAddress, port: PortNumber) throws(SnapshotFailed) -> ObservedListener? {
        try lookUp(address, port, interface: 0)
    }

    func stillListening(
        _ suspects: [ObservedListener], in range: PortRange
    ) throws(SnapshotFailed) -> [ObservedListener] {
        var found: [ObservedListener] = []
        for suspect in suspects.map(\.socket) {
            if let row = try lookUp(suspect.address, suspect.port, interface: suspect.interfaceIndex) {
                found.append(row)
            }
        }
        return found
    }

    private func lookUp(
        _ address: IPAddress, _ port: PortNumber, interface: UInt32
    ) throws(SnapshotFailed) -> ObservedListener? {
        do throws(SockDiagError) {
            switch try socket.lookUp(address, port: port, interfaceIndex: interface) {
            // The kernel names whoever would get the connection, which may be another address's socket.
            case .listener(let row): return row.socket.address == address ? row : nil
            // A shortage of memory is no answer; a missing address family is.
            case .nobody(let reason?) where reason.isExhaustion: throw SockDiagError.failed(reason)
            case .nobody: return nil
            }
        } catch {
            throw SnapshotFailed(error)
        }
    }
}

/// Snapshots by `/proc/net/tcp` and `tcp6`.
final class ProcSnapshotter: ListenSnapshotter {
    let mode = ListenMode.procfs
    private let reader: ProcNetReader

    init(root: String) { reader = ProcNetReader(root: root) }

    func dump(of range: PortRange) throws(SnapshotFailed) -> ListenerDump {
        // Each read(2) gives one page and finds its place again by a count, as a dump does.
        ListenerDump(listeners: try read(range), mayMissSome: true)
    }

    func listener(at address: IPAddress, port: PortNumber) throws(SnapshotFailed) -> ObservedListener? { nil }

    func stillListening(
        _ suspects: [ObservedListener], in range: PortRange
    ) throws(SnapshotFailed) -> [ObservedListener] {
        let keys = Set(suspects.map(\.socket.key))
        return try read(range).filter { keys.contains($0.socket.key) }
    }

    private func read(_ range: PortRange) throws(SnapshotFailed) -> [ObservedListener] {
        do {
            return try reader.listeners(in: range)
        } catch {
            throw SnapshotFailed(description: "\(error)", isPermanent: false)
        }
    }
}

extension SnapshotFailed {
    init(_ error: SockDiagError) {
        let permanent = if case .unavailable = error { true } else { false }
        self.init(description: "\(error)", isPermanent: permanent)
    }
}
