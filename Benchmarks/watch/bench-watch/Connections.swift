import Glibc
import Linux
import LiveKernel
import Ports

/// Pairs of established connections in the calling thread's namespace, for as long as the object lives.
final class Connections: Sendable {
    private let clients: [TestConnection]

    /// Opens `count` connections over a loopback address of their own; blocks.
    init(_ count: Int) throws {
        var all: [TestConnection] = []
        var options = TestListener.Options()
        options.backlog = 1024
        // An address of its own for each process, so that the local ports suffice.
        let address = IPAddress.v4(0x7f01_0000 + UInt32(getpid()) & 0xffff)
        let listener = try TestListener(address, port: 4000, options: options)
        for _ in 0..<count { all.append(try TestConnection(to: listener)) }
        clients = all
    }

    /// Opens connections, says `ready`, and keeps them until the process is killed.
    static func hold(_ count: Int) throws {
        let connections = try Connections(count)
        print("ready")
        withExtendedLifetime(connections) {
            while true { pause() }
        }
    }
}

/// Both ends of one connection.
final class TestConnection: Sendable {
    private let client: OwnedDescriptor
    private let server: OwnedDescriptor

    init(to listener: TestListener) throws {
        let target = SocketAddress.tcp(listener.address, port: listener.port.rawValue)
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        client = OwnedDescriptor(owning: try SystemError.check("socket", socket(AF_INET, kind, 0)))
        let fd = client.rawValue
        try target.connect(fd)
        let accepted = try SystemError.check("accept", accept(listener.descriptor.rawValue, nil, nil))
        _ = fcntl(accepted, F_SETFD, FD_CLOEXEC)
        server = OwnedDescriptor(owning: accepted)
    }

    /// Closes both ends with a reset, which leaves no TIME_WAIT behind.
    func reset() {
        var now = linger(l_onoff: 1, l_linger: 0)
        setsockopt(client.rawValue, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
    }
}
