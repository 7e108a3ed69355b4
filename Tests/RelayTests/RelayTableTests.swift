import Glibc
import Relay
import Sockets
import Testing

/// The relay table: every row goes client to server and server to client, over every tunnel.
@Suite("Relay table")
struct RelayTableTests {
    enum Way: String, CaseIterable, CustomTestStringConvertible {
        case clientFirst, serverFirst
        var testDescription: String { rawValue }

        func order(_ pair: (client: Peer, server: Peer)) -> (Peer, Peer) {
            self == .clientFirst ? (pair.client, pair.server) : (pair.server, pair.client)
        }
    }

    @Test("A half-closed side still gets its reply", arguments: Tunnel.allCases, Way.allCases)
    func halfClose(_ tunnel: Tunnel, _ way: Way) async throws {
        let rig = try RelayRig(tunnel)
        do {
            let (asking, answering) = way.order(try rig.pair())
            try asking.write(Array("question".utf8))
            asking.shutdownWriting()
            #expect(try answering.readToEnd() == Array("question".utf8))
            try answering.write(Array("answer".utf8))
            answering.shutdownWriting()
            #expect(try asking.readToEnd() == Array("answer".utf8))
        }
        await rig.end()
    }

    @Test("A reset reaches the other side", arguments: Tunnel.allCases, Way.allCases)
    func reset(_ tunnel: Tunnel, _ way: Way) async throws {
        let rig = try RelayRig(tunnel)
        do {
            var pair: (client: Peer, server: Peer)? = try rig.pair()
            let staying: Peer
            do {
                let (leaving, other) = way.order(try #require(pair))
                staying = other
                try leaving.write([1])
                #expect(try staying.read(exactly: 1) == [1])
                leaving.resetOnClose()
            }
            pair = nil
            #expect(try staying.ending() == ECONNRESET)
        }
        await rig.end()
    }
}
