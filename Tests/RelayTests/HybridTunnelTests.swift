import AgentChannel
import Glibc
import Linux
import Ports
import Relay
import TestSupport
import Testing

/// The host's relay over a hybrid vsock socket; the virtual machine monitor and the agent are played here.
@Suite("Hybrid tunnel", .serialized)
struct HybridTunnelTests {
    @Test("A hybrid socket is greeted before the preamble, and its answer stays out of the stream")
    func greeting() async {
        await #expect(processExitsWith: .success) {
            let rig = try HybridRig()
            let client = try rig.connect()
            try client.write([1, 2])
            let tunnel = try rig.monitor.accept()
            #expect(try tunnel.read(exactly: 13) == Array("CONNECT 2223\n".utf8))
            // The answer comes in pieces; nothing but the greeting was sent before it.
            try tunnel.write(Array("OK 10".utf8))
            #expect(!tunnel.isReadable())
            try tunnel.write(Array("73741824\n".utf8))
            #expect(try tunnel.read(exactly: ForwardPreamble.firstSize) == rig.preamble.bytes)
            #expect(try tunnel.read(exactly: 2) == [1, 2])
            // The status and the first bytes come together.
            try tunnel.write([ForwardStatus.connected.rawValue, 3, 4])
            #expect(try client.read(exactly: 2) == [3, 4])
            client.shutdownWriting()
            #expect(try tunnel.readToEnd() == [])
            try tunnel.write([5])
            tunnel.shutdownWriting()
            #expect(try client.readToEnd() == [5])
            await rig.host.shutdown()
        }
    }

    @Test("A client is reset when the hybrid socket does not say OK", arguments: ["NO\n", "OK x\n", "OK 1"])
    func refusal(_ answer: String) async {
        await #expect(processExitsWith: .success) { [answer] in
            let rig = try HybridRig()
            let client = try rig.connect()
            var tunnel: Peer? = try rig.monitor.accept()
            #expect(try tunnel?.read(exactly: 13) == Array("CONNECT 2223\n".utf8))
            try tunnel?.write(Array(answer.utf8))
            // An answer that is cut short ends with the connection.
            tunnel = nil
            #expect(try client.ending() == ECONNRESET)
            #expect(rig.listener.counters.failed == 1)
            await rig.host.shutdown()
        }
    }
}

/// A host's relay whose agent is behind a hybrid socket that the test answers on.
final class HybridRig {
    let host: RelayEngine
    let listener: RelayListener
    let monitor: Peer
    let preamble: ForwardPreamble
    private let folder: TestFolder

    init() throws {
        folder = try TestFolder()
        let path = folder.path + "/2223.sock"
        monitor = Peer(try StreamSocket.listen(on: .unix(path: path)))
        preamble = ForwardPreamble(token: .random(), port: try #require(PortNumber(5001)))
        host = try RelayEngine()
        listener = try host.listen(
            on: StreamSocket.listen(on: .tcp(.loopbackV4, port: 0)),
            role: RelayRole(tunnel: .dialled) { [preamble] in
                HostHandshake(
                    opening: AgentOpening(to: .forward, of: .hybrid(path: path)), preamble: preamble)
            })
    }

    func connect() throws -> Peer {
        let peer = Peer(try StreamSocket.connect(to: listener.address))
        try peer.wait(POLLOUT)
        return peer
    }
}
