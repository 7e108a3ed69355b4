import AgentChannel
import ArgumentParser
import CommandMain
import Foundation
import Machine

/// Whose ports `rum forward` forwards: those of an agent at an address, or of one behind ssh.
enum ForwardSource: ExpressibleByArgument, CustomStringConvertible {
    case address(AgentAddress)
    /// What OpenSSH calls the machine.
    case ssh(String)

    init?(argument: String) {
        if argument.hasPrefix("ssh://") {
            self = .ssh(argument)
        } else if argument.hasPrefix("ssh:") {
            self = .ssh(String(argument.dropFirst("ssh:".count)))
        } else if let address = AgentAddress(argument: argument) {
            self = .address(address)
        } else {
            return nil
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
