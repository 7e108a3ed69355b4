internal import ClientOwner
internal import Linux
internal import PortForward
internal import Ports
internal import Relay
internal import Synchronization

/// Decides which clients of this host may use forwards that are bound to loopback, by the uid that owns their socket.
///
/// Of a client that has closed its socket by the time it is accepted the kernel knows no owner any more; since Linux 6.17 it
/// does for some 40 ms, so the relay's loop asks about all that wait before it serves the first of them. If a client without
/// an owner was let in, every user of the host could write into the guest, and only not read: connect, send, close. So it is
/// not. Root is never refused: it could be anybody.
final class ClientCheck: Sendable {
    /// What a role of the relay asks; see `RelayRole.admitsClient`.
    typealias Check = @Sendable (RelayClient) -> Bool

    /// Between two lines.
    private static let lineInterval = Duration.seconds(10).wholeNanoseconds

    /// When a line tells of a client that was refused: of the first at once, and then now and again.
    struct Notice {
        private var nextAt: UInt64 = 0
        /// Refused since the last line.
        private var untold = 0

        /// Takes one more; how many others the line tells of too, nil for no line. Each thread reads the clock by itself, so a
        /// later call may have an earlier time.
        mutating func take(at now: UInt64) -> Int? {
            guard now >= nextAt else {
                untold += 1
                return nil
            }
            defer { (nextAt, untold) = (now + lineInterval, 0) }
            return untold
        }
    }

    private let users: Set<UInt32>
    private let refused: @Sendable (WantedForward.Key, _ reason: String) -> Void
    private let lookup = Mutex<OwnerLookup?>(nil)
    private let notice = Mutex(Notice())

    init(refused: @escaping @Sendable (WantedForward.Key, _ reason: String) -> Void) {
        self.refused = refused
        // Whoever has become root with sudo(8) can use the other ports of root as well.
        users = [0, CallingUser.id]
    }

    /// The check for the clients of a forward; nil where none is wanted: all of the host may, or it is bound to an address
    /// that other hosts reach, too.
    ///
    /// - Throws: where this kernel does not tell whose a socket is.
    func check(for forward: WantedForward.Key) throws(BindFailure) -> Check? {
        let loopback = forward.bind.addresses.filter(\.isLoopback)
        guard forward.allow == .me, let address = loopback.first else { return nil }
        switch openLookup() {
        case .success(let lookup): return { self.admits($0, to: forward, lookup) }
        case .failure(let error):
            let operation =
                "this kernel does not tell whose a client is, so allow = \"me\" can't be kept (\(error.operation))"
            throw BindFailure(
                address: HostAddress(address: address, port: forward.hostPort),
                error: SystemError(code: error.code, operation: operation))
        }
    }

    /// Whether a client on a loopback address is one that forwards with `allow = "me"` let in; nobody is told if not.
    func isMine(_ client: Int32, at server: SocketAddress) -> Bool {
        guard case .success(let lookup) = openLookup(),
            let owner = try? lookup.owner(of: StreamSocket.peerAddress(client), connectedTo: server),
            case .user(let user) = owner
        else { return false }
        return users.contains(user)
    }

    private func openLookup() -> Result<OwnerLookup, SystemError> {
        lookup.withLock { lookup in
            if let lookup { return .success(lookup) }
            do throws(SystemError) {
                let new = try OwnerLookup()
                lookup = new
                return .success(new)
            } catch {
                return .failure(error)
            }
        }
    }

    private func admits(
        _ client: RelayClient, to forward: WantedForward.Key, _ lookup: OwnerLookup
    ) -> Bool {
        // An address of the LAN beside a loopback one.
        if case .tcp(let address, _, _) = client.server, !address.isLoopback { return true }
        do throws(SystemError) {
            switch try lookup.owner(of: client.address, connectedTo: client.server) {
            case .user(let user):
                if users.contains(user) { return true }
                tell(forward, "it belongs to user \(user)")
            case .unknown:
                // A client that has said nothing and is gone loses nothing, as one that looks whether the port is open.
                if StreamSocket.readableBytes(client.socket) > 0 {
                    tell(forward, "it was closed before its user could be seen")
                }
            }
        } catch {
            tell(forward, "\(error)")
        }
        return false
    }

    private func tell(_ forward: WantedForward.Key, _ cause: String) {
        let now = SystemClock.monotonic
        guard let others = notice.withLock({ $0.take(at: now) }) else { return }
        let more = others > 0 ? ", and \(others) more before it" : ""
        refused(forward, "\(cause)\(more); allow = \"host\" lets every user of this host in")
    }
}
