import AgentChannel
import Glibc
import Linux
import Ports
import Synchronization
import TestSupport
import Testing

@testable import Relay

/// Clients whose first bytes decide where they go.
@Suite("Entrance", .serialized)
struct RelayEntranceTests {
    /// A rig with one more listener on its host, which clients of these tests connect to.
    private struct Entrance {
        let rig: RelayRig
        let listener: RelayListener

        init(
            _ tunnel: Tunnel = .unix, hostOptions: RelayOptions = RelayOptions(), acceptsSilent: Bool = true,
            _ decide: @escaping @Sendable (RelayArrival, RelayTarget) -> RelayDecision
        ) throws {
            rig = try RelayRig(tunnel, hostOptions: hostOptions)
            let target = rig.hostListener.target
            var role = RelayRole(entrance: RelayEntrance { decide($0, target) })
            role.acceptsSilent = acceptsSilent
            listener = try rig.host.listen(
                on: StreamSocket.listen(on: .tcp(.loopbackV4, port: 0)), role: role)
        }

        func connect() throws -> Peer {
            let peer = Peer(try StreamSocket.connect(to: listener.address))
            try peer.wait(POLLOUT)
            return peer
        }
    }

    /// A descriptor that a decision has put aside.
    private final class Handed: Sendable {
        let descriptor = Atomic<Int32>(-1)
    }

    /// Waits for a line.
    private static func line(_ arrival: RelayArrival, _ then: RelayDecision) -> RelayDecision {
        arrival.bytes.contains(10) ? then : .wait
    }

    @Test(
        "A client is relayed with all its bytes, as if it had come to the target's port",
        arguments: [Tunnel.unix, .tcp, .rawUnix, .rawTCP])
    func untouched(tunnel: Tunnel) async {
        await #expect(processExitsWith: .success) { [tunnel] in
            let entrance = try Entrance(tunnel, acceptsSilent: tunnel != .tcp) { Self.line($0, .relay($1)) }
            let client = try entrance.connect()
            try client.write(Array("a li".utf8))
            usleep(20_000)
            try client.write(Array("ne\nand more".utf8))
            let server = try entrance.rig.server.accept()
            #expect(try server.read(exactly: 15) == Array("a line\nand more".utf8))
            try server.write([7])
            #expect(try client.read(exactly: 1) == [7])
            client.shutdownWriting()
            #expect(try server.readToEnd() == [])
            server.shutdownWriting()
            #expect(try client.readToEnd() == [])
            try await eventually("counted") { entrance.rig.hostListener.counters.active == 0 }
            #expect(entrance.rig.hostListener.counters.accepted == 1)
            #expect(entrance.rig.hostListener.counters.bytesForth == 15)
            #expect(entrance.listener.counters.active == 0)
            await entrance.rig.end()
        }
    }

    @Test(
        "The target gets other bytes in the place of the first ones",
        arguments: [Tunnel.unix, .tcp, .rawUnix, .rawTCP])
    func replaced(tunnel: Tunnel) async {
        await #expect(processExitsWith: .success) { [tunnel] in
            let entrance = try Entrance(tunnel) {
                Self.line($0, .relay($1, replacing: 4, with: Array("new".utf8)))
            }
            let client = try entrance.connect()
            try client.write(Array("old line\n".utf8))
            let server = try entrance.rig.server.accept()
            #expect(try server.read(exactly: 8) == Array("newline\n".utf8))
            try client.write([1, 2])
            #expect(try server.read(exactly: 2) == [1, 2])
            try await eventually("counted") { entrance.rig.hostListener.counters.bytesForth == 10 }
            await entrance.rig.end()
        }
    }

    @Test("An answer arrives whole and ends in order, although much of what the client says is not read")
    func answered() async {
        await #expect(processExitsWith: .success) {
            let words = [UInt8](repeating: 7, count: 300_000)
            let entrance = try Entrance { arrival, _ in Self.line(arrival, .answer(words)) }
            let client = try entrance.connect()
            try client.write(Array("a line\n".utf8) + [UInt8](repeating: 1, count: 100_000))
            #expect(try client.readToEnd() == words)
            await entrance.rig.end()
        }
    }

    @Test("A greeting is said once, and what comes then is decided on")
    func greeted() async {
        await #expect(processExitsWith: .success) {
            let entrance = try Entrance { arrival, target in
                if !arrival.isGreeted { return .greet([5]) }
                return Self.line(arrival, .relay(target, replacing: 1))
            }
            let client = try entrance.connect()
            try client.write([9])
            #expect(try client.read(exactly: 1) == [5])
            #expect(!client.isReadable())
            try client.write(Array("x\n".utf8))
            #expect(try entrance.rig.server.accept().read(exactly: 2) == Array("x\n".utf8))
            await entrance.rig.end()
        }
    }

    @Test("A socket that was handed over is untouched, and one that is adopted is decided on")
    func handedOver() async {
        await #expect(processExitsWith: .success) {
            let handed = Handed()
            let entrance = try Entrance { arrival, _ in
                guard arrival.bytes.contains(10) else { return .wait }
                handed.descriptor.store(dup(arrival.socket), ordering: .releasing)
                return .handedOver
            }
            let client = try entrance.connect()
            try client.write([1])
            usleep(20_000)
            try client.write([10])
            try await eventually("handed over") { handed.descriptor.load(ordering: .acquiring) >= 0 }
            try await eventually("closed here") { entrance.rig.host.activeConnections == 0 }
            let target = entrance.rig.hostListener.target
            entrance.rig.host.adopt(
                OwnedDescriptor(owning: handed.descriptor.load(ordering: .acquiring)),
                as: RelayTarget(role: RelayRole(entrance: RelayEntrance { _ in .relay(target) })))
            let server = try entrance.rig.server.accept()
            #expect(try server.read(exactly: 2) == [1, 10])
            try server.write([3])
            #expect(try client.read(exactly: 1) == [3])
            await entrance.rig.end()
        }
    }

    @Test("Silence, too little, too much and what is refused end with a reset", arguments: 0..<5)
    func refused(_ way: Int) async {
        await #expect(processExitsWith: .success) { [way] in
            var options = RelayOptions()
            // The client of way 1 has to say its word before.
            if way < 2 { options.silenceTimeout = .milliseconds(way == 0 ? 50 : 1000) }
            let entrance = try Entrance(hostOptions: options) { arrival, _ in
                if way == 4 { return .reset }
                var role = RelayRole(tunnel: .dialled) {
                    HostHandshake(
                        opening: AgentOpening(to: .forward, of: .unix(directory: "/nonexistent")),
                        preamble: ForwardPreamble(token: RelayRig.token, port: port(1), version: .raw))
                }
                role.admitsClient = { _ in false }
                return way == 3 ? .relay(RelayTarget(role: role)) : .wait
            }
            let client = try entrance.connect()
            switch way {
            case 0: break
            case 2: try? client.write([UInt8](repeating: 1, count: 64 << 10))
            default: try client.write([1])
            }
            let error = #expect(throws: SystemError.self) { try client.readToEnd() }
            #expect(error?.code == ECONNRESET)
            try await eventually("closed here") { entrance.rig.host.activeConnections == 0 }
            await entrance.rig.end()
        }
    }

    @Test("A client that ends its side before it has said enough is not waited for")
    func ended() async {
        await #expect(processExitsWith: .success) {
            let entrance = try Entrance { arrival, _ in arrival.isAll ? .answer([9]) : .wait }
            let client = try entrance.connect()
            try client.write([1])
            usleep(20_000)
            client.shutdownWriting()
            #expect(try client.readToEnd() == [9])
            await entrance.rig.end()
        }
    }

    @Test("A flood of clients that say nothing closes its own")
    func flood() async {
        await #expect(processExitsWith: .success) {
            var options = RelayOptions()
            options.loops = 1
            options.maxSilent = 4
            let entrance = try Entrance(hostOptions: options) { Self.line($0, .relay($1)) }
            let silent = try (0..<40).map { _ in try entrance.connect() }
            let client = try entrance.connect()
            try client.write([10])
            #expect(try entrance.rig.server.accept().read(exactly: 1) == [10])
            try await eventually("only the last are there") { entrance.rig.host.activeConnections <= 5 }
            withExtendedLifetime(silent) {}
            await entrance.rig.end()
        }
    }
}
