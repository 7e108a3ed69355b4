import Glibc
import Linux
import Testing

@testable import Relay

@Suite("Sockets for servers, made in advance")
struct ServerSocketsTests {
    private static let v4 = SocketAddress.tcp(.loopbackV4, port: 1)
    private static let v6 = SocketAddress.tcp(.loopbackV6, port: 1)

    private static func option(_ socket: borrowing OwnedDescriptor, _ level: Int32, _ name: Int32) -> Int32 {
        var value: Int32 = -1
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(socket.rawValue, level, name, &value, &size)
        return value
    }

    @Test("One is made when it is asked for, once, and is the next that is taken")
    func prepared() throws {
        var sockets = ServerSockets()
        var wasReady: [Bool] = []
        sockets.prepare()
        wasReady.append(sockets.isReady)
        _ = try sockets.take(for: Self.v4)
        wasReady.append(sockets.isReady)
        sockets.prepare()
        wasReady.append(sockets.isReady)
        _ = try sockets.take(for: Self.v4)
        wasReady.append(sockets.isReady)
        sockets.prepare()
        sockets.close()
        wasReady.append(sockets.isReady)
        #expect(wasReady == [false, false, true, false, false])
    }

    @Test(
        "A socket is of the family that it is taken for, whichever was made in advance", arguments: [v4, v6])
    func family(_ first: SocketAddress) throws {
        let other = first == Self.v4 ? Self.v6 : Self.v4
        var sockets = ServerSockets()
        _ = try sockets.take(for: first)
        sockets.prepare()
        for address in [other, other, first] {
            let socket = try sockets.take(for: address)
            #expect(Self.option(socket, SOL_SOCKET, SO_DOMAIN) == address.family)
            if address == other { sockets.prepare() }
        }
    }

    @Test("One that was made in advance is set up as any other", arguments: [false, true])
    func options(_ inAdvance: Bool) throws {
        var sockets = ServerSockets()
        if inAdvance {
            _ = try sockets.take(for: Self.v4)
            sockets.prepare()
        }
        let socket = try sockets.take(for: Self.v4)
        #expect(Self.option(socket, Int32(IPPROTO_TCP), TCP_NODELAY) == 1)
        #expect(Self.option(socket, SOL_SOCKET, SO_OOBINLINE) == 1)
        // struct linger: on, for 0 s.
        #expect(Self.option(socket, SOL_SOCKET, SO_LINGER) == 1)
    }
}
