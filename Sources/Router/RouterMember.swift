internal import CLinux
internal import Glibc
internal import Linux

/// A process of this user that forwards a machine, as the one that has the router's ports sees it.
final class RouterMember: Sendable {
    /// The machine's name.
    let machine: String
    let socket: OwnedDescriptor

    init(machine: String, socket: consuming OwnedDescriptor) {
        self.machine = machine
        self.socket = socket
    }

    /// Gives it a client, whose socket this process still has to close; false when it takes none now. Never waits.
    func handOver(_ client: Int32, isGreeted: Bool) -> Bool {
        let message = isGreeted ? RouterMessage.greetedClient : .client
        return clinux_send_descriptor(socket.rawValue, message.rawValue, client) == 1
    }

    /// Tells it which ports the router has; whoever is too far behind to be told is not.
    func tell(ports: [UInt16]) {
        let text = ports.map { "\($0)" }.joined(separator: ",")
        let bytes = [RouterMessage.ports.rawValue] + Array("\(text)\n".utf8)
        _ = send(socket.rawValue, bytes, bytes.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
    }

    func tellNameTaken() {
        var byte = RouterMessage.nameTaken.rawValue
        _ = send(socket.rawValue, &byte, 1, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
    }

    /// Whether it has ended. It says nothing more once it has joined.
    var hasEnded: Bool {
        var byte: UInt8 = 0
        let count = recv(socket.rawValue, &byte, 1, Int32(MSG_DONTWAIT))
        return count == 0 || count < 0 && errno != EAGAIN && errno != EINTR
    }
}
