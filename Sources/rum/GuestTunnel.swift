import AgentChannel
import CLinux
import Glibc
import Linux
import Ports

/// A connection to a port of the guest over the agent's forward port, in version 1 of its protocol: raw bytes behind the
/// status. Its socket blocks.
final class GuestTunnel: Sendable {
    /// For the agent's status, as `RelayOptions` has it.
    static let answerTime = Duration.seconds(10)

    let socket: OwnedDescriptor

    private init(_ socket: consuming OwnedDescriptor) { self.socket = socket }

    static func dial(_ agent: AgentAddress) async throws(AgentDialError) -> GuestTunnel {
        let socket = try await AgentDialer(address: agent).dial(.forward)
        _ = clinux_set_nonblocking(socket.rawValue, 0)
        return GuestTunnel(socket)
    }

    /// Asks for a port of the guest and takes the agent's answer; nil for one that this version doesn't know.
    func greet(
        _ port: PortNumber, token: MachineToken, within time: Duration = answerTime
    ) async throws(SystemError) -> ForwardStatus? {
        try await DedicatedThread.run(name: "tunnel") { () throws(SystemError) in
            try StreamSocket.limitReads(self.socket.rawValue, to: min(time, Self.answerTime))
            try self.send(ForwardPreamble(token: token, port: port).bytes[...])
            var status: UInt8 = 0
            let count = try SystemError.check("recv", recv(self.socket.rawValue, &status, 1, 0))
            // An agent that is going down closes without a word; that is as good as a refusal.
            guard count == 1 else { return .refused }
            try StreamSocket.limitReads(self.socket.rawValue, to: nil)
            return ForwardStatus(rawValue: status)
        }
    }

    /// Waits until all is sent.
    func send(_ bytes: ArraySlice<UInt8>) throws(SystemError) {
        var rest = bytes
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(socket.rawValue, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            rest = rest.dropFirst(try SystemError.check("send", count))
        }
    }
}
