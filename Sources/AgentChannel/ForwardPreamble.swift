package import Ports

/// The first 34 bytes that the host sends on a connection to the forward port: the machine's token, then the
/// guest port as a big-endian 16-bit number. Raw client bytes follow at once.
package struct ForwardPreamble: Hashable, Sendable {
    package static let size = MachineToken.size + 2

    package var token: MachineToken
    package var port: PortNumber

    package init(token: MachineToken, port: PortNumber) {
        self.token = token
        self.port = port
    }

    /// The wire form, `size` bytes.
    package var bytes: [UInt8] {
        token.bytes + [UInt8(port.rawValue >> 8), UInt8(port.rawValue & 0xff)]
    }

    /// Reads the wire form; nil when the length is wrong or the port is 0.
    package init?(bytes: some Collection<UInt8>) {
        let all = Array(bytes)
        guard all.count == Self.size, let token = MachineToken(bytes: all.dropLast(2)),
            let port = PortNumber(UInt16(all[all.count - 2]) << 8 | UInt16(all[all.count - 1]))
        else { return nil }
        self.init(token: token, port: port)
    }
}

/// The one byte with which the agent answers a preamble; after `connected` both sides are raw bytes.
package enum ForwardStatus: UInt8, Sendable {
    case connected = 0
    /// Nothing accepted the connection in the guest.
    case refused = 1
    /// The port does not listen, or may not be forwarded.
    case notAllowed = 2
    case badToken = 3
}

/// The two ports on which an agent answers.
package enum AgentPort: UInt32, Sendable, CaseIterable {
    /// gRPC, service `rum.v1.RumAgent`.
    case rpc = 2222
    /// Forwarded connections, each with a preamble.
    case forward = 2223
}
