internal import Linux
internal import Ports
internal import ProcNet
internal import SockDiag

/// Something that knows which sockets listen. It lives on one thread at a time.
protocol ListenSnapshotter: AnyObject {
    var mode: ListenMode { get }
    /// Every listener whose port lies in `range`.
    func listeners(in range: PortRange) throws(SnapshotFailed) -> [ObservedListener]
    /// The listener of exactly this address and port, nil when there is none or when only `listeners` can tell.
    func listener(at address: IPAddress, port: PortNumber) throws(SnapshotFailed) -> ObservedListener?
}

/// A snapshot that could not be taken. The listeners are then unknown, not absent.
struct SnapshotFailed: Error, CustomStringConvertible {
    var description: String
    /// The source does not exist here or is forbidden, so trying again is of no use.
    var isPermanent: Bool
}

/// Snapshots by sock_diag.
final class NetlinkSnapshotter: ListenSnapshotter {
    let mode = ListenMode.netlink
    private let socket: SockDiagSnapshotter

    init() throws(SnapshotFailed) {
        do { socket = try SockDiagSnapshotter() } catch { throw SnapshotFailed(error) }
    }

    func listeners(in range: PortRange) throws(SnapshotFailed) -> [ObservedListener] {
        do { return try socket.listeners(in: range) } catch { throw SnapshotFailed(error) }
    }

    func listener(at address: IPAddress, port: PortNumber) throws(SnapshotFailed) -> ObservedListener? {
        do {
            let owner = try socket.owner(of: address, port: port, interfaceIndex: 0)
            // The kernel names whoever would get the connection, which may be another address's socket.
            return owner?.socket.address == address ? owner : nil
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

    func listeners(in range: PortRange) throws(SnapshotFailed) -> [ObservedListener] {
        do {
            return try reader.listeners(in: range)
        } catch {
            throw SnapshotFailed(description: "\(error)", isPermanent: false)
        }
    }

    func listener(at address: IPAddress, port: PortNumber) throws(SnapshotFailed) -> ObservedListener? { nil }
}

extension SnapshotFailed {
    init(_ error: SockDiagError) {
        let permanent = if case .unavailable = error { true } else { false }
        self.init(description: "\(error)", isPermanent: permanent)
    }
}
