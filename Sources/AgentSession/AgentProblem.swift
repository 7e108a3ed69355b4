internal import AgentAPI
package import AgentChannel
internal import GRPCCore
internal import Linux

/// Why an agent can't be followed or asked; its description completes "Waiting for the agent: ".
package enum AgentProblem: Error, Hashable, CustomStringConvertible {
    case unreachable(AgentDialError)
    case noAnswerInTime
    case connectionBroke
    case tokenRefused
    /// Its table of listeners is larger than `AgentLimits.largestMessage`.
    case tableTooLarge
    case other(String)

    /// Reads the error of a dial or a call.
    package init(_ error: any Error) {
        switch error {
        case let problem as AgentProblem: self = problem
        case let error as AgentDialError: self = .unreachable(error)
        case let error as RPCError:
            self =
                switch error.code {
                case .deadlineExceeded: .noAnswerInTime
                case .unauthenticated: .tokenRefused
                case .unavailable: .connectionBroke
                default: .other(error.message.isEmpty ? "\(error.code)" : error.message)
                }
        default: self = .other("\(error)")
        }
    }

    package var description: String {
        switch self {
        case .unreachable(let error): "\(error)"
        case .noAnswerInTime: "the agent did not answer in time"
        case .connectionBroke: "the connection to it broke"
        case .tokenRefused: "the agent refused the token"
        case .tableTooLarge:
            """
            its table of listeners is larger than the \(AgentLimits.largestMessage >> 20) MiB and \
            \(AgentLimits.mostRows) rows that rum takes
            """
        // The agent's own words.
        case .other(let text): text.printable(limit: 1000)
        }
    }

    /// What to do next; nil where nothing but waiting is left.
    package var hint: String? {
        switch self {
        case .unreachable(let error): error.hint
        case .tableTooLarge: "follow fewer ports: a smaller range of automatic forwards"
        case .noAnswerInTime, .connectionBroke, .tokenRefused, .other: nil
        }
    }
}
