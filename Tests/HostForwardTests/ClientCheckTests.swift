import AgentChannel
import Glibc
import Linux
import LiveKernel
import PortForward
import Ports
import Relay
import Synchronization
import TestSupport
import Testing

@testable import HostForward

@Suite("Which users of the host may use a forward", .enabled(if: geteuid() == 0, "needs a second user"))
struct ClientCheckTests {
    /// A forward whose agent only accepts: what reaches it was let in.
    private final class Rig: Sendable {
        let engine: RelayEngine
        let port: PortNumber
        private let folder: TestFolder
        private let agent: OwnedDescriptor
        private let bound: any BoundForward
        private let told = Mutex<[String]>([])

        var reasons: [String] { told.withLock { $0 } }
        var counters: ForwardCounters { bound.counters }

        init(bind: BindAddress = .loopback, allow: AllowedClients = .me) throws {
            folder = try TestFolder()
            engine = try RelayEngine()
            agent = try StreamSocket.listen(on: .unix(path: folder.path + "/2223.sock"))
            port = try FreePort.next()
            let target = ForwardTarget(address: .unix(directory: folder.path), token: .none)
            let box = Box()
            let binder = RelayBinder(engine: engine, agent: target) { box.owner?.note($1) }
            bound = try binder.bind(
                .init(kind: .auto, bind: bind, hostPort: port, guestPort: port, allow: allow))
            box.owner = self
        }

        private final class Box: @unchecked Sendable { weak var owner: Rig? }

        private func note(_ reason: String) { told.withLock { $0.append(reason) } }

        /// Connects as that user; or connects, says something and closes at once.
        func connect(as user: UInt32, _ address: IPAddress = .loopbackV4, closes: Bool = false) async throws
            -> OwnedDescriptor
        {
            let target = SocketAddress.tcp(address, port: port.rawValue)
            return try await OtherUser.run(as: user) {
                let client = OwnedDescriptor(
                    owning: try SystemError.check(
                        "socket", socket(target.family, Int32(SOCK_STREAM.rawValue), 0)))
                do throws(SystemError) {
                    try target.connect(client.rawValue)
                } catch {
                    guard closes, error.code == ECONNRESET else { throw error }
                }
                guard closes else { return client }
                _ = Glibc.send(client.rawValue, "hello", 5, Int32(MSG_NOSIGNAL))
                return try StreamSocket.open(for: target)
            }
        }

        /// Whether a connection reaches the agent.
        func arrives(within milliseconds: Int32 = 5000) -> Bool {
            var entry = pollfd(fd: agent.rawValue, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, milliseconds) == 1 else { return false }
            let number = accept(agent.rawValue, nil, nil)
            if number >= 0 { _ = OwnedDescriptor(owning: number) }
            return number >= 0
        }

        /// Connects as that user: whether the connection is reset, within connect(2) or behind it.
        func isReset(as user: UInt32, _ address: IPAddress) async throws -> Bool {
            do {
                let client = try await connect(as: user, address)
                let number = client.rawValue
                var entry = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
                return poll(&entry, 1, 5000) == 1 && StreamSocket.pendingError(number)?.code == ECONNRESET
            } catch let error as SystemError where error.code == ECONNRESET {
                return true
            }
        }
    }

    @Test(
        "Another user is reset, and one line tells of many", arguments: [IPAddress.loopbackV4, .loopbackV6])
    func stranger(address: IPAddress) async throws {
        let rig = try Rig(bind: .localhost)
        for _ in 0..<20 {
            let isReset = try await rig.isReset(as: OtherUser.id, address)
            #expect(isReset)
        }
        #expect(!rig.arrives(within: 100))
        #expect(
            rig.reasons == [
                "it belongs to user \(OtherUser.id); allow = \"host\" lets every user of this host in"
            ])
        try await eventually("all counted: \(rig.counters)") {
            rig.counters.accepted == 20 && rig.counters.failed == 20 && rig.counters.active == 0
        }
        let mine = try await rig.connect(as: geteuid(), address)
        #expect(rig.arrives())
        _ = mine.rawValue
        await rig.engine.shutdown()
    }

    @Test("What another user has said and left behind does not arrive")
    func hitAndRun() async throws {
        let rig = try Rig()
        for _ in 0..<200 { _ = try await rig.connect(as: OtherUser.id, closes: true) }
        try await eventually("all judged") { rig.counters.failed == 200 }
        #expect(!rig.arrives(within: 100))
        await rig.engine.shutdown()
    }

    /// As root under sudo, whose caller is one's own: the kernel never tells that a closed socket was root's.
    @Test("What the own user has said and left behind arrives, where the kernel still tells whose it was")
    func ownHitAndRun() async {
        await #expect(processExitsWith: .success) {
            // Linux before 6.17 tells no owner of a closed socket.
            guard try await OwnerLookupTests.knowsClosed() else { return }
            setenv("SUDO_UID", "\(OtherUser.id)", 1)
            let rig = try Rig()
            // On a busy machine the relay comes too late for some.
            try await eventually("one arrives") {
                _ = try await rig.connect(as: OtherUser.id, closes: true)
                return rig.arrives(within: 500)
            }
            await rig.engine.shutdown()
        }
    }

    @Test("allow = \"host\" lets every user in, and so does an address that other hosts reach")
    func everybody() async throws {
        for rig in [try Rig(allow: .host), try Rig(bind: BindAddress(.anyV4))] {
            let client = try await rig.connect(as: OtherUser.id)
            #expect(rig.arrives())
            _ = client.rawValue
            await rig.engine.shutdown()
        }
    }

    @Test("A port stays closed where the kernel does not tell whose a client is")
    func untold() async throws {
        let namespace = try await NetworkNamespace()
        let failure = await #expect(throws: BindFailure.self) {
            try await namespace.run {
                try KernelControl.forbidNetlink()
                _ = try Rig()
            }
        }
        #expect(failure.map { "\($0)".contains("allow = \"me\" can't be kept") } == true)
    }
}

@Suite("When a refused client is told of")
struct RefusalNoticeTests {
    private static func seconds(_ count: UInt64) -> UInt64 { count * 1_000_000_000 }

    @Test("The first at once, then one line in ten seconds with the count of those between")
    func seldom() {
        var notice = ClientCheck.Notice()
        let answers = [100, 101, 109, 110, 119, 130, 131].map { notice.take(at: Self.seconds($0)) }
        #expect(answers == [0, nil, nil, 2, nil, 1, nil])
    }

    @Test("A thread that has read the clock before another one's line, and comes after it, is counted")
    func lateThread() {
        var notice = ClientCheck.Notice()
        #expect(notice.take(at: Self.seconds(100) + 1) == 0)
        #expect(notice.take(at: Self.seconds(100)) == nil)
        #expect(notice.take(at: Self.seconds(111)) == 1)
    }
}
