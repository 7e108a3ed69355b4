import AgentChannel
import Glibc
import Linux
import Ports
import TestSupport
import Testing

@testable import Relay

/// When the guest's relay says that the server was reached. The host's is played here.
@Suite("Status of a tunnel", .serialized)
struct RelayStatusTests {
    private static func tunnel(_ rig: RelayRig) throws -> Peer {
        let tunnel = Peer(try StreamSocket.connect(to: rig.guestListener.address))
        let preamble = ForwardPreamble(token: RelayRig.token, port: port(5001), version: .records)
        try tunnel.write(preamble.bytes)
        return tunnel
    }

    @Test("A server that says nothing is told of")
    func silentServer() async {
        await #expect(processExitsWith: .success) {
            let rig = try RelayRig(.unix)
            let tunnel = try Self.tunnel(rig)
            let server = try rig.server.accept()
            #expect(try tunnel.read(exactly: 1) == [ForwardStatus.connected.rawValue])
            try server.write([7])
            #expect(try tunnel.read(exactly: 5) == [0, 0, 0, 1, 7])
            await rig.end()
        }
    }

    @Test("The status waits for the server's first words, its end, or its reset", arguments: 0..<3)
    func company(_ way: Int) async {
        await #expect(processExitsWith: .success) { [way] in
            var options = RelayOptions()
            options.patience = .seconds(3600)
            let rig = try RelayRig(.unix, guestOptions: options)
            let tunnel = try Self.tunnel(rig)
            // Bytes for the server go there meanwhile.
            try tunnel.write([0, 0, 0, 1, 5])
            var server: Peer? = try rig.server.accept()
            #expect(try server?.read(exactly: 1) == [5])
            #expect(!tunnel.isReadable())
            switch way {
            case 0:
                try server?.write([7])
                #expect(try tunnel.read(exactly: 6) == [0, 0, 0, 0, 1, 7])
            case 1:
                server?.shutdownWriting()
                #expect(try tunnel.read(exactly: 5) == [0, 0, 0, 0, 0])
            default:
                server?.resetOnClose()
                server = nil
                #expect(try tunnel.readToEnd() == [0])
            }
            #expect(rig.guestListener.counters.failed == 0)
            await rig.end()
        }
    }
}
