import AgentChannel
import Glibc
import Linux
import Ports
import Synchronization
import TestSupport
import Testing

@testable import Relay

/// Requests that were on their way when their server went.
@Suite("Relay, undelivered", .serialized, .timeLimit(.minutes(2)))
struct RelayUndeliveredTests {
    /// The agent's word that the server was lost before a byte had reached it.
    private static let undelivered: [UInt8] = [0x80, 0, 0, 1]
    private static let question = Array("ping".utf8)

    private static var preamble: ForwardPreamble {
        ForwardPreamble(
            token: RelayRig.token, port: port(5001), version: .records, waitsForAnswer: true)
    }

    @Test("What the agent could not deliver is said again, up to the end; what it may have delivered is not")
    func again() async {
        await #expect(processExitsWith: .success) {
            let folder = try TestFolder()
            let directory = folder.path
            let agent = Peer(try StreamSocket.listen(on: .unix(path: directory + "/2223.sock")))
            let host = try RelayEngine()
            let (preamble, hold) = (Self.preamble, RelayHold(time: .seconds(60)))
            var role = RelayRole(tunnel: .dialled) {
                HostHandshake(
                    opening: AgentOpening(to: .forward, of: .unix(directory: directory)), preamble: preamble)
            }
            role.hold = hold
            let listener = try host.listen(
                on: StreamSocket.listen(on: .tcp(.loopbackV4, port: 0)), role: role)
            func connect(_ bytes: [UInt8]) throws -> Peer {
                let client = Peer(try StreamSocket.connect(to: listener.address))
                try client.wait(POLLOUT)
                try client.write(bytes)
                return client
            }
            func tunnel() throws -> Peer {
                let tunnel = try agent.accept()
                #expect(try tunnel.read(exactly: preamble.bytes.count) == preamble.bytes)
                try tunnel.write([ForwardStatus.connected.rawValue])
                return tunnel
            }
            let client = try connect([5, 6])
            for _ in 0..<3 {
                let tunnel = try tunnel()
                #expect(try tunnel.read(exactly: 6) == [0, 0, 0, 2, 5, 6])
                try tunnel.write(Self.undelivered)
                #expect(try tunnel.readToEnd() == [])
            }
            client.shutdownWriting()
            let halfClosed = try tunnel()
            #expect(try halfClosed.read(exactly: 10) == [0, 0, 0, 2, 5, 6, 0, 0, 0, 0])
            try halfClosed.write(Self.undelivered)
            let last = try tunnel()
            #expect(try last.read(exactly: 10) == [0, 0, 0, 2, 5, 6, 0, 0, 0, 0])
            try last.write([0, 0, 0, 1, 7])
            #expect(try client.read(exactly: 1) == [7])
            // A server that has answered has got something.
            try last.write(Self.undelivered)
            #expect(try client.ending() == ECONNRESET)

            let cut = try connect([5])
            let lost = try tunnel()
            #expect(try lost.read(exactly: 5) == [0, 0, 0, 1, 5])
            lost.shutdownWriting()
            #expect(try cut.ending() == ECONNRESET)

            // More than is kept.
            let long = try connect([UInt8](repeating: 1, count: 20_000))
            let full = try tunnel()
            try await eventually("it is on its way") { full.isReadable() }
            var got = 0
            while got < 20_000 { got += try full.readSome().count }
            try full.write(Self.undelivered)
            #expect(try long.ending() == ECONNRESET)
            #expect(hold.waiting == 0)
            await host.shutdown()
        }
    }

    @Test(
        "The agent tells a host that waits of a server that was reset before a byte had reached it, and no other",
        arguments: [Tunnel.unix, .tcp])
    func tells(_ tunnel: Tunnel) async {
        await #expect(processExitsWith: .success) { [tunnel] in
            for (waits, delivers) in [(true, false), (true, true), (false, false)] {
                var queue: Peer? = Peer(try StreamSocket.listen(on: .tcp(.loopbackV4, port: 0)))
                let server = try StreamSocket.localAddress(queue?.fd ?? -1)
                let rig = try RelayRig(tunnel, targets: [server])
                let host = Peer(try StreamSocket.connect(to: rig.guestListener.address))
                try host.wait(POLLOUT)
                var preamble = Self.preamble
                preamble.waitsForAnswer = waits
                try host.write(preamble.bytes)
                #expect(try host.read(exactly: 1) == [ForwardStatus.connected.rawValue])
                if delivers {
                    try host.write([0, 0, 0, 1, 5])
                    try await eventually("it is in the queue") {
                        rig.guestListener.counters.bytesForth == 1
                    }
                }
                queue = nil
                let said = try? host.readToEnd()
                #expect(said == (waits && !delivers ? Self.undelivered : tunnel == .tcp ? nil : []))
                await rig.end()
            }
        }
    }

    @Test("A server's end without a word is kept for a moment, in which a reset may follow it")
    func endBeforeReset() async {
        await #expect(processExitsWith: .success) {
            for (patience, resets) in [(Duration.seconds(3600), true), (.milliseconds(2), false)] {
                var options = RelayOptions()
                options.patience = patience
                let rig = try RelayRig(.unix, guestOptions: options)
                let host = Peer(try StreamSocket.connect(to: rig.guestListener.address))
                try host.wait(POLLOUT)
                try host.write(Self.preamble.bytes)
                var server: Peer? = try rig.server.accept()
                #expect(try host.read(exactly: 1) == [ForwardStatus.connected.rawValue])
                server?.shutdownWriting()
                if resets {
                    #expect(!host.isReadable())
                    server?.resetOnClose()
                    server = nil
                    #expect(try host.readToEnd() == Self.undelivered)
                } else {
                    #expect(try host.read(exactly: 4) == [0, 0, 0, 0])
                    // It may still listen to what is said.
                    try host.write([0, 0, 0, 1, 5])
                    #expect(try server?.read(exactly: 1) == [5])
                }
                await rig.end()
            }
        }
    }

    /// What clients have seen.
    private final class Score: Sendable {
        let answered = Atomic(0)
        let failed = Atomic(0)
        let isOver = Atomic(false)
        let running = Atomic(8)
    }

    /// Asks until it is over; a question is four bytes, and so is its answer.
    private static func ask(_ address: SocketAddress, _ score: Score) {
        while !score.isOver.load(ordering: .relaxed) {
            let answer = try? {
                let client = Peer(try StreamSocket.connect(to: address))
                try client.wait(POLLOUT)
                try client.write(question)
                return try client.readToEnd()
            }()
            if answer == question {
                score.answered.add(1, ordering: .relaxed)
            } else {
                score.failed.add(1, ordering: .relaxed)
            }
            usleep(1000)
        }
    }

    /// Answers one after the other until `end`, and then closes at once.
    private static func serve(_ server: Peer, while goesOn: () -> Bool) {
        while goesOn() {
            guard (try? server.wait(POLLIN, milliseconds: 1)) != nil, let client = try? server.acceptNow(),
                let said = try? client.read(exactly: question.count)
            else { continue }
            try? client.write(said)
        }
    }

    @Test(
        "Of the requests that a hundred restarts meet, those alone fail whose bytes had reached the server's socket"
    )
    func account() async {
        await #expect(processExitsWith: .success) {
            var socket: Peer? = Peer(try StreamSocket.listen(on: .tcp(.loopbackV4, port: 0)))
            let address = try StreamSocket.localAddress(socket?.fd ?? -1)
            let rig = try RelayRig(.unix, targets: [address], hold: RelayHold(time: .seconds(60)))
            let (score, clients) = (Score(), rig.hostListener.address)
            for _ in 0..<score.running.load(ordering: .relaxed) {
                try DedicatedThread.start(name: "asks") {
                    Self.ask(clients, score)
                    score.running.subtract(1, ordering: .relaxed)
                }
            }
            for _ in 0..<100 {
                let end = ContinuousClock.now + .milliseconds(15)
                if let socket {
                    Self.serve(socket) { .now < end }
                    // Where a handshake meets close(2), its client gets FIN before RST (docs/kernel-facts.md): an end in order,
                    // which is passed on. Here all are reset.
                    shutdown(socket.fd, Int32(SHUT_RD))
                }
                socket = nil
                usleep(15_000)
                socket = Peer(try StreamSocket.listen(on: address))
            }
            score.isOver.store(true, ordering: .relaxed)
            if let socket { Self.serve(socket) { score.running.load(ordering: .relaxed) > 0 } }
            try await eventually("all is counted") { rig.guest.activeConnections == 0 }
            let answered = score.answered.load(ordering: .relaxed)
            let failed = score.failed.load(ordering: .relaxed)
            let reached = Int(rig.guestListener.counters.bytesForth) / Self.question.count
            #expect(answered > 100 && failed == reached - answered)
            await rig.end()
        }
    }
}
