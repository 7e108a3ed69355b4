import AgentAPI
import AgentSession
import Foundation
import GRPCCore
import Glibc
import Linux
import Ports
import SwiftProtobuf
import TestSupport
import Testing

@testable import AgentService

@Suite("What hosts tell the guest about their ports", .timeLimit(.minutes(1)))
struct SharedForwardsTests {
    private static func forward(_ guest: UInt16, _ host: UInt16, _ bind: BindAddress = .loopback)
        -> ForwardedPort
    {
        ForwardedPort(guest: port(guest), host: port(host), bind: bind)
    }

    private static func service(_ file: String?) -> RumAgentService {
        RumAgentService(
            tables: ScriptedTables(), hostname: "guest", instanceID: "one", bootID: "boot",
            shared: file.map { SharedForwards(path: $0) })
    }

    /// Tells a list, and nothing more until the task is cancelled.
    private static func tell(_ agent: AgentConnection, _ list: [ForwardedPort]) async throws {
        try await agent.shareForwards { send in
            try await send(list)
            while !Task.isCancelled { try await Task.sleep(for: .seconds(60)) }
        }
    }

    @Test("The file has what all hosts tell, everybody may read it, and it goes with the last of them")
    func file() async throws {
        let folder = try TestFolder()
        // As an agent that was killed leaves it.
        let path = try folder.file("ports.json", "stale")
        try await withServer(Self.service(path)) { [path] directory in
            #expect(access(path, F_OK) != 0)
            try await withAgent(in: directory) { first in
                let telling = Task {
                    try await Self.tell(
                        first, [Self.forward(5001, 5003), Self.forward(80, 8080, .localhost)])
                }
                try await eventually("the first host's forwards") {
                    (try? readText(path)) == """
                        {"forwards":[{"guest_port":80,"host":"localhost","host_port":8080},\
                        {"guest_port":5001,"host":"127.0.0.1","host_port":5003}]}\n
                        """
                }
                var status = stat()
                #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o644)
                try await withAgent(in: directory) { second in
                    let other = Task {
                        try await Self.tell(second, [Self.forward(5001, 7001, BindAddress(.anyV6))])
                    }
                    try await eventually("the second host's too") {
                        (try? readText(path))?.contains(#""guest_port":5001,"host":"::","host_port":7001}"#)
                            == true
                    }
                    #expect((try? readText(path))?.contains("8080") == true)
                    other.cancel()
                    _ = await other.result
                }
                try await eventually("only the first one's") {
                    (try? readText(path))?.contains("7001") == false
                }
                telling.cancel()
                _ = await telling.result
            }
            try await eventually("no file") { access(path, F_OK) != 0 }
        }
    }

    @Test("A list that is none is refused, and an agent without a file says at once that it keeps none")
    func refused() async throws {
        let folder = try TestFolder()
        let path = folder.path + "/ports.json"
        try await withServer(Self.service(path)) { [path] directory in
            try await withAgent(in: directory) { agent in
                let error = await #expect(throws: RPCError.self) {
                    try await agent.shareForwards { send in
                        // `machine` is no address.
                        try await send([Self.forward(1, 2, .machine)])
                        try await Task.sleep(for: .seconds(3600))
                    }
                }
                #expect(error?.code == .invalidArgument)
            }
            try await eventually("no file") { access(path, F_OK) != 0 }
        }
        try await withServer(Self.service(nil)) { directory in
            try await withAgent(in: directory) { agent in
                let error = await #expect(throws: RPCError.self) { try await Self.tell(agent, []) }
                #expect(error?.code == .unimplemented)
            }
        }
    }

    @Test("A message has 4096 forwards at most")
    func bounded() {
        let many = (1...5000).compactMap { UInt16(exactly: $0) }.map { Self.forward($0, $0) }
        #expect(Rum_V1_HostForwards(many).list?.count == 4096)
        var message = Rum_V1_HostForwards(many)
        message.forwards.append(message.forwards[0])
        #expect(message.list == nil)
        message.forwards = [.with { $0.guestPort = 70_000 }]
        #expect(message.list == nil)
    }

    @Test("A folder that cannot be written is told once, and ends nothing")
    func unwritable() async {
        let said = Recorder<String>()
        let shared = SharedForwards(path: "/proc/nowhere/ports.json") { said.add($0) }
        let host = shared.join()
        await shared.set([Self.forward(1, 2)], of: host)
        await shared.set([Self.forward(1, 3)], of: host)
        #expect(said.all.count == 1 && said.all[0].hasPrefix("cannot write /proc/nowhere/ports.json: "))
        shared.close()
    }
}
