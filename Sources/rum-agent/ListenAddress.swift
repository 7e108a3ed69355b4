import AgentChannel
import ArgumentParser
import CommandMain
import Linux
import Ports

/// Where the daemon listens: `vsock`, `unix:DIR` or `tcp:HOST[:PORT]`.
struct ListenAddress: ExpectedArgument, Hashable, CustomStringConvertible {
    static let expected = "vsock, unix:DIR or tcp:HOST[:PORT]"

    let description: String
    private let place: Place

    private enum Place: Hashable {
        case vsock
        case reached(AgentAddress)
    }

    static let vsock = ListenAddress(description: "vsock", place: .vsock)

    private init(description: String, place: Place) {
        self.description = description
        self.place = place
    }

    init?(argument: String) {
        if argument == "vsock" {
            self = .vsock
            return
        }
        guard let address = try? AgentAddress(text: argument) else { return nil }
        switch address {
        case .unix, .tcp: self.init(description: argument, place: .reached(address))
        case .vsock, .hybrid: return nil
        }
    }

    /// Whether anybody but the host's own tools may connect, so that a token is the only guard.
    var isTCP: Bool {
        if case .reached(.tcp) = place { true } else { false }
    }

    /// The line that tells that it listens here, and who is served if that is more than the agent's owner would think: over
    /// vsock every user of the host can connect, to a unix socket only its owner.
    func announcement(hasToken: Bool) -> String {
        let isOpen = self == .vsock && !hasToken
        return "listening on \(self)"
            + (isOpen ? " without a token, so every user of the host is served; rum exec is refused" : "")
    }

    /// The agent's listeners as the watcher sees them: over tcp its two ports, which are not the guest's to forward.
    var listeners: [ListeningSocket.Key] {
        [AgentPort.rpc, .forward].compactMap {
            guard case .tcp(let address, let port, _) = socketAddress(for: $0) else { return nil }
            return PortNumber(port).map { ListeningSocket.Key(port: $0, address: address) }
        }
    }

    func socketAddress(for port: AgentPort) -> SocketAddress {
        switch place {
        // VMADDR_CID_ANY: whatever CID this guest has, now and after a migration (vsock(7)).
        case .vsock: .vsock(cid: UInt32.max, port: port.rawValue)
        case .reached(let address): address.socketAddress(for: port)
        }
    }
}
