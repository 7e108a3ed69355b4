import ClientOwner
import Glibc
import Linux
import LiveKernel
import Ports
import TestSupport
import Testing

@Suite("Whose a client's socket is", .enabled(if: geteuid() == 0, "needs a second user"))
struct OwnerLookupTests {
    /// A client's socket, and the address it had when it was connected.
    private struct Client: ~Copyable, Sendable {
        let socket: OwnedDescriptor
        let address: SocketAddress
    }

    /// A listener, and clients of it that another user connects.
    private struct Rig: Sendable {
        let namespace: NetworkNamespace
        let listener: TestListener
        let lookup: OwnerLookup
        var server: SocketAddress { .tcp(listener.address, port: listener.port.rawValue) }

        init(_ address: IPAddress) async throws {
            let namespace = try await NetworkNamespace()
            self.namespace = namespace
            listener = try await namespace.run { try TestListener(address) }
            lookup = try await namespace.run { try OwnerLookup() }
        }

        /// A socket that `user` connects to `target`, or to the listener.
        func connect(
            as user: UInt32 = OtherUser.id, to target: SocketAddress? = nil,
            from source: SocketAddress? = nil,
            device: String? = nil
        ) async throws -> Client {
            let target = target ?? server
            let number = try await OtherUser.run(as: user, in: namespace) {
                let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
                let fd = try SystemError.check("socket", socket(target.family, kind, 0))
                if let device {
                    let name = Array(device.utf8CString)
                    _ = try SystemError.check(
                        "SO_BINDTODEVICE",
                        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, socklen_t(name.count)))
                }
                try source?.bind(fd)
                try target.connect(fd)
                return fd
            }
            let owned = OwnedDescriptor(owning: number)
            return Client(socket: owned, address: try StreamSocket.localAddress(number))
        }
    }

    @Test(
        "The uid of the one who made it, over IPv4 and IPv6", arguments: [IPAddress.loopbackV4, .loopbackV6])
    func user(address: IPAddress) async throws {
        let rig = try await Rig(address)
        for user in [OtherUser.id, 1000, 0] {
            let client = try await rig.connect(as: user)
            let place = client.address
            #expect(try rig.lookup.owner(of: place, connectedTo: rig.server) == .user(user))
            // It has said all that it has to say, and still reads.
            shutdown(client.socket.rawValue, Int32(SHUT_WR))
            #expect(try rig.lookup.owner(of: place, connectedTo: rig.server) == .user(user))
        }
    }

    @Test(
        "Also of a socket of the other family, of one bound to a device, and from another address of the host"
    )
    func unusual() async throws {
        let rig = try await Rig(.loopbackV4)
        let mapped = try #require(IPAddress(text: "::ffff:127.0.0.1"))
        let elsewhere = try #require(IPAddress(text: "127.9.9.9"))
        let (stranger, server) = (SocketOwner.user(OtherUser.id), rig.server)
        let inV6 = try await rig.connect(to: .tcp(mapped, port: rig.listener.port.rawValue))
        guard case .tcp(_, let port, _) = inV6.address else { return }
        let asV4 = SocketAddress.tcp(.loopbackV4, port: port)
        #expect(try rig.lookup.owner(of: asV4, connectedTo: server) == stranger)
        let onDevice = try await rig.connect(device: "lo")
        let bound = onDevice.address
        #expect(try rig.lookup.owner(of: bound, connectedTo: server) == stranger)
        let fromElsewhere = try await rig.connect(from: .tcp(elsewhere, port: 0))
        let other = fromElsewhere.address
        #expect(try rig.lookup.owner(of: other, connectedTo: server) == stranger)
    }

    /// Whether this kernel tells the owner of a socket that was closed a moment ago.
    static func knowsClosed() async throws -> Bool {
        let rig = try await Rig(.loopbackV4)
        let place = try await rig.connect().address
        return try rig.lookup.owner(of: place, connectedTo: rig.server) == .user(OtherUser.id)
    }

    @Test("Nobody's once the client has closed or reset it, and never root's", arguments: [true, false])
    func closed(resets: Bool) async throws {
        let rig = try await Rig(.loopbackV4)
        let place = try await closedClient(of: rig, resets: resets)
        // Since Linux 6.17 the owner is known for the moment until the other side has acknowledged the end.
        try await eventually("forgotten") {
            let owner = try rig.lookup.owner(of: place, connectedTo: rig.server)
            #expect(owner == .unknown || owner == .user(OtherUser.id))
            return owner == .unknown
        }
    }

    private func closedClient(of rig: Rig, resets: Bool) async throws -> SocketAddress {
        let client = try await rig.connect()
        _ = Glibc.send(client.socket.rawValue, "FLUSHALL", 8, 0)
        if resets { StreamSocket.resetUnlessEnded(client.socket.rawValue) }
        return client.address
    }

    @Test("A listener on the client's port is not taken for the client")
    func listener() async throws {
        let rig = try await Rig(.loopbackV4)
        let mine = try await rig.namespace.run { try TestListener(.anyV4) }
        let gone = SocketAddress.tcp(.loopbackV4, port: mine.port.rawValue)
        #expect(try rig.lookup.owner(of: gone, connectedTo: rig.server) == .unknown)
    }

    @Test("An answer that is cut or of another question gives no owner")
    func bytes() throws {
        let (client, server) = (
            SocketAddress.tcp(.loopbackV4, port: 1), SocketAddress.tcp(.loopbackV4, port: 2)
        )
        var bytes = [UInt8](repeating: 0, count: 88)
        (bytes[0], bytes[4], bytes[8], bytes[17]) = (88, 20, 7, 1)
        (bytes[21], bytes[23], bytes[80], bytes[84]) = (1, 2, 100, 9)
        func answer(_ count: Int, _ sequence: UInt32 = 7) -> OwnerMessages.Answer {
            bytes[..<count].withUnsafeBytes {
                OwnerMessages.answer($0, client: client, server: server, sequence: sequence)
            }
        }
        #expect(answer(88) == .owner(.user(100)))
        #expect(answer(88, 8) == .unrelated)
        for count in 0..<88 {
            if case .owner = answer(count) { Issue.record("an owner from \(count) bytes") }
        }
        bytes[17] = 10
        #expect(answer(88) == .owner(.unknown))
        #expect(
            OwnerMessages.question(client: client, server: .tcp(.loopbackV6, port: 2), sequence: 1) == nil)
    }

    @Test("Where netlink is forbidden, opening it fails")
    func forbidden() async throws {
        let namespace = try await NetworkNamespace()
        await #expect(throws: SystemError.self) {
            try await namespace.run {
                try KernelControl.forbidNetlink()
                _ = try OwnerLookup()
            }
        }
    }
}
