import Glibc
import Linux
import TestSupport

/// The unix socket of a virtual machine monitor whose vsock is reached by `CONNECT <port>`: it copies bytes between its
/// clients and the agent's socket, and like such a monitor it passes a close on as a close, never as a reset.
final class HybridMonitor: Sendable {
    private let listener: OwnedDescriptor

    init(path: String, agent: SocketAddress) throws {
        listener = try StreamSocket.listen(on: .unix(path: path))
        let fd = listener.rawValue
        _ = fcntl(fd, F_SETFL, 0)
        try DedicatedThread.start(name: "monitor") {
            while case let number = accept(fd, nil, nil), number >= 0 {
                let client = OwnedBox(OwnedDescriptor(owning: number))
                try? DedicatedThread.start(name: "monitor") { Self.serve(client, agent) }
            }
        }
    }

    func stop() { shutdown(listener.rawValue, Int32(SHUT_RDWR)) }

    private final class OwnedBox: Sendable {
        let descriptor: OwnedDescriptor
        var fd: Int32 { descriptor.rawValue }
        init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }
    }

    private static func serve(_ client: OwnedBox, _ agent: SocketAddress) {
        var line: [UInt8] = []
        var byte: UInt8 = 0
        while recv(client.fd, &byte, 1, 0) == 1, byte != UInt8(ascii: "\n") { line.append(byte) }
        guard line == Array("CONNECT 2223".utf8), let opened = try? StreamSocket.connect(to: agent) else {
            return
        }
        let guest = OwnedBox(opened)
        _ = fcntl(guest.fd, F_SETFL, 0)
        let answer = Array("OK 1073741824\n".utf8)
        send(client.fd, answer, answer.count, Int32(MSG_NOSIGNAL))
        try? DedicatedThread.start(name: "monitor") { copy(guest, client) }
        copy(client, guest)
    }

    /// Ends both ways when one has ended.
    private static func copy(_ from: OwnedBox, _ to: OwnedBox) {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while case let count = recv(from.fd, &buffer, buffer.count, 0), count > 0 {
            var rest = buffer[..<count]
            while !rest.isEmpty {
                let sent = rest.withUnsafeBytes { send(to.fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
                guard sent > 0 else { return }
                rest = rest.dropFirst(sent)
            }
        }
        shutdown(to.fd, Int32(SHUT_WR))
    }
}
