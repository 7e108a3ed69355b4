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
            // 0 is none.
            try self.setLimit(max(.milliseconds(1), min(time, Self.answerTime)))
            try self.send(ForwardPreamble(token: token, port: port).bytes[...])
            var status: UInt8 = 0
            let count = try SystemError.check("recv", recv(self.socket.rawValue, &status, 1, 0))
            // An agent that is going down closes without a word; that is as good as a refusal.
            guard count == 1 else { return .refused }
            try self.setLimit(.zero)
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

    private func setLimit(_ time: Duration) throws(SystemError) {
        let microseconds = Int(time.wholeNanoseconds / 1000)
        let limit = timeval(tv_sec: microseconds / 1_000_000, tv_usec: microseconds % 1_000_000)
        try StreamSocket.setOption(socket.rawValue, SOL_SOCKET, SO_RCVTIMEO, limit, "SO_RCVTIMEO")
    }
}
