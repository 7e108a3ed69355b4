import AgentChannel
import ArgumentParser
import CommandMain
import Foundation
import Linux
import Machine

/// Whose ports `rum forward` forwards: those of an agent at an address, or of one behind ssh.
enum ForwardSource: CustomStringConvertible {
    case address(AgentAddress)
    /// What OpenSSH calls the machine.
    case ssh(String)

    /// Reads an agent's address, or `ssh:[USER@]HOST`.
    init(text: String) throws(ValidationError) {
        if text.hasPrefix("ssh://") {
            self = .ssh(text)
        } else if text.hasPrefix("ssh:") {
            self = .ssh(String(text.dropFirst("ssh:".count)))
        } else {
            let address: AgentAddress
            do throws(AgentAddress.ParseError) {
                address = try AgentAddress(text: text)
            } catch {
                let isKind = ["vsock", "unix", "hybrid", "tcp"].contains(text.prefix { $0 != ":" })
                throw ValidationError("expected \(error.expected)\(isKind ? "" : ", or ssh:[USER@]HOST")")
            }
            if case .unix(let path) = address.socketAddress(for: .forward),
                path.utf8.count > SocketAddress.longestUnixPath
            {
                // The name of a socket in the folder is not the user's.
                let most =
                    SocketAddress.longestUnixPath - path.utf8.count
                    + text.split(separator: ":", maxSplits: 1)[1].utf8.count
                throw ValidationError(
                    "expected a path of at most \(most) bytes, such as one from this folder")
            }
            self = .address(address)
        }
    }

    var description: String {
        switch self {
        case .address(let address): "\(address)"
        case .ssh(let machine): machine.hasPrefix("ssh:") ? machine : "ssh:\(machine)"
        }
    }

    /// The way there; `tokenFile` is what the user gave.
    func way(tokenFile: String?) throws -> AgentWay {
        switch self {
        case .address(let address):
            return AgentWay(address: address, token: try tokenFile.map(TokenFile.read))
        case .ssh(let machine):
            return try AgentWay(through: machine, tokenFile: tokenFile)
        }
    }
}

/// What ssh takes for a machine.
enum SSHDestination {
    static func check(_ text: String) throws(ValidationError) {
        // Else ssh would take it for an option.
        guard text.isEmpty || text.hasPrefix("-") || text.contains(where: \.isWhitespace) else { return }
        throw ValidationError("expected a machine as ssh knows it, such as dev@box, not \"\(text)\"")
    }
}
