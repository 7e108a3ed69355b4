import AgentChannel
import Glibc
import Linux
import LiveKernel
import Ports
import TestSupport
import Testing

@testable import Relay

/// Clients whose server is away for a moment.
@Suite("Relay hold", .serialized)
struct RelayHoldTests {
    /// A server that can go away and come back on the same port.
    private final class Server {
        /// Keeps the port while it is away.
        private let place: TestListener
        private var socket: Peer?

        /// Away at first.
        init() throws { place = try TestListener.silent() }

        var address: SocketAddress { place.socketAddress }

        func comeBack() throws { socket = Peer(try StreamSocket.listen(on: address)) }
        func goAway() { socket = nil }

        func accept() throws -> Peer {
            guard let socket else { throw RigError.timedOut("no server") }
            return try socket.accept()
        }
    }

    @Test("A client waits for its server, and all that it has said comes through", arguments: Tunnel.allCases)
    func wait(_ tunnel: Tunnel) async {
        await #expect(processExitsWith: .success) { [tunnel] in
            let (server, hold) = (try Server(), RelayHold(time: .seconds(60)))
            let rig = try RelayRig(tunnel, targets: [server.address], hold: hold, greeting: [7, 8])
            let clients = try (0..<3).map { _ in try rig.connect() }
            for (index, client) in clients.enumerated() { try client.write([UInt8(index), 1, 2]) }
            clients[2].shutdownWriting()
            try await eventually("all wait") { hold.waiting == 3 }
            #expect(!clients[0].isReadable() && rig.hostListener.counters.failed == 0)
            try server.comeBack()
            var seen: Set<UInt8> = []
            for _ in clients {
                let served = try server.accept()
                let said = try served.read(exactly: 5)
                #expect(said[..<2] == [7, 8] && said[3...] == [1, 2])
                seen.insert(said[2])
                try served.write([said[2], 9])
                served.shutdownWriting()
                if said[2] == 2 { #expect(try served.readToEnd() == []) }
                #expect(try clients[Int(said[2])].readToEnd() == [said[2], 9])
            }
            #expect(seen == [0, 1, 2] && hold.waiting == 0 && rig.hostListener.counters.failed == 0)
            await rig.end()
        }
    }

    @Test("A client whose time is up is reset, and so are all when the hold ends")
    func end() async {
        await #expect(processExitsWith: .success) {
            let (server, hold) = (try Server(), RelayHold(time: .milliseconds(300)))
            let rig = try RelayRig(.unix, targets: [server.address], hold: hold)
            let start = ContinuousClock.now
            #expect(try rig.connect().ending() == ECONNRESET)
            #expect(start.duration(to: .now) >= .milliseconds(300))
            #expect(rig.hostListener.counters.failed == 1)
            try await eventually("its place is free") { hold.waiting == 0 }
            await rig.end()

            let longer = RelayHold(time: .seconds(3600))
            let other = try RelayRig(.unix, targets: [server.address], hold: longer)
            let client = try other.connect()
            try await eventually("it waits") { longer.waiting == 1 }
            longer.end()
            other.host.retry(longer)
            #expect(try client.ending() == ECONNRESET)
            #expect(try other.connect().ending() == ECONNRESET)
            await other.end()
        }
    }

    @Test("All dial at once when the server is said to be back, without waiting for a turn")
    func retry() async {
        await #expect(processExitsWith: .success) {
            let (server, hold) = (try Server(), RelayHold(time: .seconds(3600)))
            var options = RelayOptions()
            (options.loops, options.heldRetry) = (3, .seconds(3600))
            let rig = try RelayRig(.unix, hostOptions: options, targets: [server.address], hold: hold)
            let clients = try (0..<6).map { _ in try rig.connect() }
            try await eventually("all wait") { hold.waiting == 6 }
            try server.comeBack()
            rig.host.retry(hold)
            let served = try clients.map { _ in try server.accept() }
            for peer in served { try peer.write([1]) }
            try await eventually("none waits") { hold.waiting == 0 }
            await rig.end()
        }
    }

    @Test("What waited in the queue of a listener that closes waits on, unless something was said to it")
    func queue() async {
        await #expect(processExitsWith: .success) {
            let (server, hold) = (try Server(), RelayHold(time: .seconds(60)))
            let rig = try RelayRig(.unix, targets: [server.address], hold: hold)
            try server.comeBack()
            let (silent, talking) = (try rig.connect(), try rig.connect())
            try talking.write([1])
            try await eventually("what was said is in the server's queue") {
                rig.guestListener.counters.bytesForth == 1
            }
            server.goAway()
            #expect(try talking.ending() == ECONNRESET)
            try await eventually("the other waits") { hold.waiting == 1 }
            try server.comeBack()
            try silent.write([5])
            #expect(try server.accept().read(exactly: 1) == [5])
            await rig.end()
        }
    }

    @Test("Clients above the bound are reset, and those that go away make room")
    func bound() async {
        await #expect(processExitsWith: .success) {
            let (server, hold) = (try Server(), RelayHold(time: .seconds(3600)))
            var options = RelayOptions()
            options.maxHeld = 2
            let rig = try RelayRig(.unix, hostOptions: options, targets: [server.address], hold: hold)
            var waiting = try (0..<2).map { _ in try rig.connect() }
            try await eventually("two wait") { hold.waiting == 2 }
            #expect(try rig.connect().ending() == ECONNRESET)
            waiting[0].resetOnClose()
            waiting.removeFirst()
            try await eventually("its place is free") { hold.waiting == 1 }
            waiting.append(try rig.connect())
            try await eventually("another has it") { hold.waiting == 2 }
            #expect(rig.hostListener.counters.failed == 2)
            await rig.end()
            #expect(hold.waiting == 0)
        }
    }

    @Test("A tunnel that ends before its answer leaves the client waiting, since nothing was said")
    func noAnswer() async {
        await #expect(processExitsWith: .success) {
            let folder = try TestFolder()
            let directory = folder.path
            let agent = Peer(try StreamSocket.listen(on: .unix(path: directory + "/2223.sock")))
            let host = try RelayEngine()
            let preamble = ForwardPreamble(
                token: RelayRig.token, port: port(5001), version: .records, waitsForAnswer: true)
            var role = RelayRole(tunnel: .dialled) {
                HostHandshake(
                    opening: AgentOpening(to: .forward, of: .unix(directory: directory)), preamble: preamble)
            }
            role.hold = RelayHold(time: .seconds(60))
            let listener = try host.listen(
                on: StreamSocket.listen(on: .tcp(.loopbackV4, port: 0)), role: role)
            let client = Peer(try StreamSocket.connect(to: listener.address))
            try client.wait(POLLOUT)
            try client.write([5])
            for answer in [[], [], [ForwardStatus.connected.rawValue]] {
                let tunnel = try agent.accept()
                #expect(try tunnel.read(exactly: preamble.bytes.count) == preamble.bytes)
                try tunnel.write(answer)
                if !answer.isEmpty { #expect(try tunnel.read(exactly: 5) == [0, 0, 0, 1, 5]) }
            }
            await host.shutdown()
        }
    }

    @Test("A client whose first bytes were taken from its socket waits with them")
    func leadingBytes() async {
        await #expect(processExitsWith: .success) {
            let (server, hold) = (try Server(), RelayHold(time: .seconds(60)))
            let rig = try RelayRig(.unix, targets: [server.address], hold: hold)
            let target = rig.hostListener.target
            let role = RelayRole(
                entrance: RelayEntrance { arrival in
                    arrival.bytes.count < 4 ? .wait : .relay(target, replacing: 4, with: [7, 8])
                })
            let entrance = try rig.host.listen(
                on: StreamSocket.listen(on: .tcp(.loopbackV4, port: 0)), role: role)
            let client = Peer(try StreamSocket.connect(to: entrance.address))
            try client.wait(POLLOUT)
            try client.write([1, 2, 3, 4])
            try await eventually("it waits") { hold.waiting == 1 }
            try client.write([5])
            try server.comeBack()
            #expect(try server.accept().read(exactly: 3) == [7, 8, 5])
            await rig.end()
        }
    }

    @Test(
        "A client whose tunnel is reset as it was connected waits on with the bytes that were taken from its socket"
    )
    func leadingBytesAfterReset() async {
        await #expect(processExitsWith: .success) {
            let folder = try TestFolder()
            let directory = folder.path
            let agent = Peer(try StreamSocket.listen(on: .unix(path: directory + "/2223.sock")))
            let host = try RelayEngine()
            let preamble = ForwardPreamble(
                token: RelayRig.token, port: port(5001), version: .records, waitsForAnswer: true)
            var role = RelayRole(tunnel: .dialled) {
                HostHandshake(
                    opening: AgentOpening(to: .forward, of: .unix(directory: directory)), preamble: preamble)
            }
            role.hold = RelayHold(time: .seconds(60))
            let target = RelayTarget(role: role)
            let names = try host.listen(
                on: StreamSocket.listen(on: .tcp(.loopbackV4, port: 0)),
                role: RelayRole(
                    entrance: RelayEntrance { arrival in
                        arrival.bytes.isEmpty ? .wait : .relay(target, replacing: 1, with: [7, 8])
                    }))
            let client = Peer(try StreamSocket.connect(to: names.address))
            try client.wait(POLLOUT)
            try client.write([1])
            // In one piece with the answer, a record that cannot be: it ends the tunnel as a reset does, and at a known time.
            let first = try agent.accept()
            #expect(try first.read(exactly: preamble.bytes.count) == preamble.bytes)
            try first.write([ForwardStatus.connected.rawValue, 0xff, 0xff, 0xff, 0xff])
            let second = try agent.accept()
            #expect(try second.read(exactly: preamble.bytes.count) == preamble.bytes)
            try second.write([ForwardStatus.connected.rawValue])
            #expect(try second.read(exactly: 6) == [0, 0, 0, 2, 7, 8])
            await host.shutdown()
        }
    }

    @Test("A connection to a guest that waits for its answer is told of its server at once")
    func answer() async {
        await #expect(processExitsWith: .success) {
            var options = RelayOptions()
            options.patience = .seconds(3600)
            let hold = RelayHold(time: .seconds(3600))
            let rig = try RelayRig(.unix, guestOptions: options, hold: hold)
            let client = try rig.connect()
            try client.write([1])
            let served = try rig.server.accept()
            #expect(try served.read(exactly: 1) == [1])
            await rig.end()
        }
    }
}
