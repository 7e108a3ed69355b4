import AgentChannel
import CommandMain
import Foundation
import Machine

/// The way to an agent, and what has to run meanwhile.
struct AgentWay: Sendable {
    let address: AgentAddress
    let token: MachineToken?
    /// The agent whose sockets here are ssh's, and the folder with them.
    private var tunnel: (agent: RemoteAgent, folder: String)?

    init(address: AgentAddress, token: MachineToken?) {
        (self.address, self.token) = (address, token)
    }

    /// Through an ssh to `machine`, where `rum agent install` has been.
    init(through machine: String, tokenFile: String?) throws {
        let agent = try explainedNow { () throws(MachineError) in
            try RemoteAgent(destination: machine, environment: ProcessInfo.processInfo.environment)
        }
        guard tokenFile != nil || FileManager.default.fileExists(atPath: agent.tokenFile) else {
            throw CommandFailure(
                "there is no token for an agent on \(machine)",
                hint:
                    "install the agent there (`rum agent install \(machine)`), or give its token as --token-file"
            )
        }
        token = try TokenFile.read(tokenFile ?? agent.tokenFile)
        let folder = "\(agent.folder)/\(getpid())"
        address = .unix(directory: folder)
        tunnel = (agent, folder)
    }

    /// Runs `body` when the way is there, and keeps it there meanwhile.
    func whileOpen(_ body: @escaping @Sendable () async throws -> Void) async throws {
        guard let tunnel else { return try await body() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await explained { () async throws(MachineError) in
                    try await tunnel.agent.keepReachable(in: tunnel.folder) {
                        StandardError.line("rum: \($0)")
                    }
                }
            }
            group.addTask {
                // ssh makes the sockets when it has logged in, this one last.
                while !FileManager.default.fileExists(
                    atPath: "\(tunnel.folder)/\(AgentPort.forward.rawValue).sock")
                {
                    try await Task.sleep(for: .milliseconds(20))
                }
                try await body()
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }
}
