import AgentChannel
import Glibc
import Linux
import Ports
import TestSupport
import Testing

@testable import Relay

/// Tunnels that carry one connection after another.
@Suite("Relay reuse", .serialized)
struct RelayReuseTests {
    private static let tunnels: [Tunnel] = [.unix, .tcp, .hybrid]

    /// With one loop it is certain which client comes to which tunnel.
    private static func options(
        spareTime: Duration = .seconds(3600), idleTimeout: Duration = .seconds(3600), maxSpares: Int = 16
    ) -> RelayOptions {
        var options = RelayOptions()
        (options.loops, options.maxSpares) = (1, maxSpares)
        (options.spareTime, options.idleTimeout) = (spareTime, idleTimeout)
        return options
    }

    private static func rig(_ tunnel: Tunnel, _ options: RelayOptions = options()) throws -> RelayRig {
        try RelayRig(tunnel, hostOptions: options, guestOptions: options)
    }

    /// One connection whose client, or whose server, ends first.
    private static func talk(_ rig: RelayRig, _ byte: UInt8, serverFirst: Bool = false) throws {
        let (client, server) = try rig.pair()
        try client.write([byte, 1])
        #expect(try server.read(exactly: 2) == [byte, 1])
        try server.write([byte, 2])
        #expect(try client.read(exactly: 2) == [byte, 2])
        let (first, second) = serverFirst ? (server, client) : (client, server)
        first.shutdownWriting()
        #expect(try second.readToEnd() == [])
        second.shutdownWriting()
        #expect(try first.readToEnd() == [])
    }

    /// Has clients talk until one has needed no new tunnel.
    private static func awaitReuse(_ rig: RelayRig, serverFirst: Bool = false) async throws {
        try await eventually("a client goes through a tunnel that was there") {
            let before = rig.guestListener.counters.accepted
            try talk(rig, 0, serverFirst: serverFirst)
            return rig.guestListener.counters.accepted == before
        }
    }

    @Test("The next clients go through the tunnel of the first, whoever ends first", arguments: tunnels)
    func oneAfterAnother(_ tunnel: Tunnel) async {
        await #expect(processExitsWith: .success) { [tunnel] in
            let rig = try Self.rig(tunnel)
            try Self.talk(rig, 1)
            // The client has its end before the host's relay has put the tunnel aside.
            try await Self.awaitReuse(rig)
            try await Self.awaitReuse(rig, serverFirst: true)
            for index in 0..<200 { try Self.talk(rig, UInt8(index), serverFirst: index.isMultiple(of: 3)) }
            // A client that comes before the agent was through took another tunnel.
            #expect(rig.guestListener.counters.accepted < 100)
            #expect(rig.hostListener.counters.failed == 0 && rig.guestListener.counters.failed == 0)
            #expect(rig.hostListener.counters.bytesForth == rig.guestListener.counters.bytesForth)
            await rig.end()
        }
    }

    @Test("A host of version 2 gets a tunnel for each client")
    func older() async {
        await #expect(processExitsWith: .success) {
            let rig = try Self.rig(.recordsUnix)
            for index in 0..<10 { try Self.talk(rig, UInt8(index)) }
            #expect(rig.guestListener.counters.accepted == 10)
            try await eventually("all are closed") { rig.guest.activeConnections == 0 }
            await rig.end()
        }
    }

    @Test("A tunnel whose bytes the server has not taken yet is not used, and loses none", arguments: tunnels)
    func busy(_ tunnel: Tunnel) async {
        await #expect(processExitsWith: .success) { [tunnel] in
            let rig = try Self.rig(tunnel)
            let (client, server) = try rig.pair()
            server.shutdownWriting()
            #expect(try client.readToEnd() == [])
            let count = try client.fill(7)
            client.shutdownWriting()
            // Until the host's relay has put all that is left, and the end, into the tunnel.
            var taken = 0
            while rig.host.activeConnections > 0 { taken += try server.readSome(16 << 10).count }
            for index in 0..<5 { try Self.talk(rig, UInt8(index)) }
            #expect(try taken + server.countToEnd() == count)
            try await Self.awaitReuse(rig)
            #expect(rig.hostListener.counters.failed == 0 && rig.guestListener.counters.failed == 0)
            await rig.end()
        }
    }

    @Test("A connection that was reset leaves no tunnel behind", arguments: tunnels)
    func reset(_ tunnel: Tunnel) async {
        await #expect(processExitsWith: .success) { [tunnel] in
            let rig = try Self.rig(tunnel)
            for isClient in [true, false] {
                var (resetting, other) = try rig.pair()
                if !isClient { swap(&resetting, &other) }
                try resetting.write([1])
                #expect(try other.read(exactly: 1) == [1])
                resetting.resetOnClose()
                resetting = other
                #expect(try other.ending() == ECONNRESET)
            }
            try await eventually("nothing is left") {
                rig.host.activeConnections == 0 && rig.guest.activeConnections == 0
            }
            #expect(rig.guestListener.counters.accepted == 2)
            await rig.end()
        }
    }

    /// The ways in which a connection can end.
    private enum End: CaseIterable {
        case clientFirst, serverFirst, atOnce, clientResets, serverResets, clientCloses, serverCloses,
            nobodyReads
    }

    @Test(
        "However a connection ends, the next ones get their own bytes and their own ends", arguments: tunnels)
    func anyEnd(_ tunnel: Tunnel) async {
        await #expect(processExitsWith: .success) { [tunnel] in
            let rig = try Self.rig(tunnel)
            var open: [(client: Peer, server: Peer)] = []
            for index in 0..<600 {
                let byte = UInt8(index % 251)
                let (client, server) = try rig.pair()
                try client.write([byte, 1])
                #expect(try server.read(exactly: 2) == [byte, 1])
                try server.write([byte, 2])
                #expect(try client.read(exactly: 2) == [byte, 2])
                switch End.allCases[(index / 2 + index / 7) % End.allCases.count] {
                case .clientFirst:
                    client.shutdownWriting()
                    #expect(try server.readToEnd() == [])
                    try server.write([byte, 3])
                    server.shutdownWriting()
                    #expect(try client.readToEnd() == [byte, 3])
                case .serverFirst:
                    server.shutdownWriting()
                    #expect(try client.readToEnd() == [])
                    try client.write([byte, 3])
                    client.shutdownWriting()
                    #expect(try server.readToEnd() == [byte, 3])
                case .atOnce:
                    client.shutdownWriting()
                    server.shutdownWriting()
                    #expect(try client.readToEnd() == [] && server.readToEnd() == [])
                case .clientResets:
                    try client.write([byte, 4])
                    client.resetOnClose()
                case .serverResets:
                    try server.write([byte, 4])
                    server.resetOnClose()
                case .clientCloses, .serverCloses: break
                case .nobodyReads:
                    try client.write(Array(repeating: byte, count: 100_000))
                    try server.write(Array(repeating: byte, count: 100_000))
                }
                // Some stay open while others come and go; leaving the scope closes.
                if index.isMultiple(of: 11) { open.append((client, server)) }
                if open.count > 8 { open.removeFirst() }
            }
            open = []
            try await eventually("none is left") { rig.host.activeConnections == 0 }
            // Each of the 16 that may be kept is free or is closed.
            try await eventually("the kept ones are left") { rig.guest.activeConnections <= 16 }
            try await Self.awaitReuse(rig)
            await rig.end()
        }
    }

    @Test("Tunnels that nobody needs are closed by the host, or by the agent, and nothing failed")
    func expiry() async {
        await #expect(processExitsWith: .success) {
            for options in [
                Self.options(spareTime: .milliseconds(100)), Self.options(idleTimeout: .milliseconds(100)),
                Self.options(maxSpares: 0),
            ] {
                let rig = try Self.rig(.unix, options)
                try Self.talk(rig, 1)
                try await eventually("the agent has no tunnel") { rig.guest.activeConnections == 0 }
                // One that the agent has closed is not used.
                try Self.talk(rig, 2)
                #expect(rig.guestListener.counters.accepted == 2)
                #expect(rig.hostListener.counters.failed == 0 && rig.guestListener.counters.failed == 0)
                await rig.end()
            }
        }
    }

    @Test("More tunnels than may be kept are closed, the oldest first")
    func bound() async {
        await #expect(processExitsWith: .success) {
            let rig = try Self.rig(.unix, Self.options(maxSpares: 2))
            let pairs = try (0..<5).map { _ in try rig.pair() }
            for pair in pairs {
                pair.client.shutdownWriting()
                pair.server.shutdownWriting()
                #expect(try pair.client.readToEnd() == [] && pair.server.readToEnd() == [])
            }
            try await eventually("two are left") { rig.guest.activeConnections == 2 }
            try Self.talk(rig, 3)
            #expect(rig.guestListener.counters.accepted == 5)
            await rig.end()
        }
    }

    @Test("With the connections to a lost agent the tunnels that are kept go")
    func lostAgent() async {
        await #expect(processExitsWith: .success) {
            let rig = try Self.rig(.unix)
            try await Self.awaitReuse(rig)
            rig.host.resetConnections(acceptedBefore: SystemClock.monotonic)
            try await eventually("the agent has no tunnel") { rig.guest.activeConnections == 0 }
            try await Self.awaitReuse(rig)
            rig.host.findLostTunnels()
            try await eventually("the agent has no tunnel") { rig.guest.activeConnections == 0 }
            await rig.end()
        }
    }

    @Test("A client whose server is gone is reset through a tunnel that was there, which is not used again")
    func refused() async {
        await #expect(processExitsWith: .success) {
            let server = Peer(try StreamSocket.listen(on: .tcp(.loopbackV4, port: 0)))
            let address = try StreamSocket.localAddress(server.fd)
            let rig = try RelayRig(
                .unix, hostOptions: Self.options(), guestOptions: Self.options(), targets: [address])
            let client = try rig.connect()
            let served = try server.accept()
            client.shutdownWriting()
            served.shutdownWriting()
            #expect(try client.readToEnd() == [] && served.readToEnd() == [])
            try await eventually("the tunnel is idle") { rig.host.activeConnections == 0 }
            shutdown(server.fd, Int32(SHUT_RDWR))
            #expect(try rig.connect().ending() == ECONNRESET)
            #expect(rig.guestListener.counters.accepted == 1)
            #expect(rig.hostListener.counters.failed == 1 && rig.guestListener.counters.failed == 1)
            try await eventually("nothing is left") { rig.guest.activeConnections == 0 }
            await rig.end()
        }
    }

    @Test("Each connection through a tunnel shows the token")
    func token() async {
        await #expect(processExitsWith: .success) {
            let rig = try Self.rig(.unix)
            let host = Peer(try StreamSocket.connect(to: rig.guestListener.address))
            let port = try #require(PortNumber(5001))
            for _ in 0..<2 {
                try host.write(ForwardPreamble(token: RelayRig.token, port: port, version: .kept).bytes)
                let server = try rig.server.accept()
                try host.write([0, 0, 0, 1, 7, 0, 0, 0, 0])
                #expect(try server.readToEnd() == [7])
                server.shutdownWriting()
                #expect(try host.read(exactly: 6) == [0, 0, 0, 0, 0, RelayRecord.freeMark])
            }
            try host.write(ForwardPreamble(token: .random(), port: port, version: .kept).bytes)
            #expect(try host.readToEnd() == [3])
            #expect(rig.guestListener.counters.accepted == 1)
            await rig.end()
        }
    }
}
