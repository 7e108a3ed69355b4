import AgentAPI
import AgentChannel
import AgentSession
import Foundation
import GRPCCore
import Glibc
import Linux
import SwiftProtobuf
import Synchronization
import TestSupport
import Testing

/// Commands of the agent that users get, whose threads are its own.
@Suite("Commands of a real agent", .timeLimit(.minutes(1)))
struct AgentCommandTests {
    @Test("A command is run at the priority of ordinary programs")
    func priority() async throws {
        let folder = try TestFolder()
        let token = MachineToken.random()
        try token.text.write(toFile: "\(folder.path)/token", atomically: true, encoding: .utf8)
        let agent = try await onThread {
            // What this test's thread has may be another one.
            guard setpriority(Int32(PRIO_PROCESS.rawValue), 0, 0) == 0 else {
                throw SystemError.current("setpriority")
            }
            return try Program(
                "rum-agent", ["--listen", "unix:\(folder.path)", "--token-file", "\(folder.path)/token"])
        }
        try await agent.waits(for: "push ")
        let said = Mutex("")
        let exit = try await AgentConnection.with(token: token) {
            try StreamSocket.connect(to: .unix(path: "\(folder.path)/2222.sock"))
        } _: { connection in
            try await connection.exec { writer in
                try await writer.write(.with { $0.start = .with { $0.arguments = ["nice"] } })
            } output: { output in
                said.withLock { $0 += String(decoding: output.stdout, as: UTF8.self) }
            }
        }
        #expect(exit.code == 0)
        #expect(said.withLock { $0 } == "0\n")
    }
}
