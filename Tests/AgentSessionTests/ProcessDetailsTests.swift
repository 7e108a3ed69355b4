import AgentAPI
import AgentSession
import Foundation
import Glibc
import Linux
import Ports
import Synchronization
import TestSupport
import Testing

@testable import AgentService

@Suite("Details of processes", .timeLimit(.minutes(1)))
struct ProcessDetailsTests {
    /// A /proc of our own making.
    private struct Processes {
        let folder: TestFolder

        init() throws { folder = try TestFolder() }

        func add(_ pid: Int32, _ name: String, command: [UInt8], groups: String = "0::/\n") throws {
            _ = try folder.file("\(pid)/comm", "\(name)\n")
            _ = try folder.file("\(pid)/cgroup", groups)
            try Data(command).write(to: URL(fileURLWithPath: commandLine(of: pid)))
        }

        func commandLine(of pid: Int32) -> String { "\(folder.path)/\(pid)/cmdline" }

        /// Opening it waits for a writer.
        func addStuck(_ pid: Int32) throws {
            try add(pid, "stuck", command: [])
            try #require(unlink(commandLine(of: pid)) == 0)
            try #require(mkfifo(commandLine(of: pid), 0o600) == 0)
        }
    }

    private final class Answers: Sendable {
        private let answers = Mutex<[Int32: ProcessDetails?]>([:])
        var all: [Int32: ProcessDetails?] { answers.withLock { $0 } }

        func ask(_ reader: ProcessReader, _ process: ListeningProcess) {
            reader.read(process) { details in self.answers.withLock { $0[process.pid] = .some(details) } }
        }
    }

    @Test(
        "A command line is one line, printable, and no longer than its limit",
        arguments: [
            (Array("node\0server.js\0".utf8), "node server.js"), ([], ""),
            (Array("nginx: master\0\0\0\0".utf8), "nginx: master"),
            (Array("a\u{1b}[2Jb\n\0".utf8), "a\u{fffd}[2Jb\u{fffd}"), ([0xff, 0x61], "\u{fffd}a"),
            ([UInt8](repeating: 0x61, count: 5000), String(repeating: "a", count: 256)),
        ])
    func command(bytes: [UInt8], expected: String) throws {
        let processes = try Processes()
        try processes.add(7, "node", command: bytes)
        let details = ProcessReader(root: processes.folder.path).details(of: .init(pid: 7, name: "node"))
        #expect(details == ProcessDetails(command: expected))
    }

    @Test("Its control group names the container, and a number that went to another process says nothing")
    func container() throws {
        let processes = try Processes()
        let id = String(repeating: "0123456789abcdef", count: 4)
        try processes.add(
            7, "node", command: Array("node".utf8), groups: "0::/system.slice/docker-\(id).scope\n")
        let reader = ProcessReader(root: processes.folder.path)
        #expect(reader.details(of: .init(pid: 7, name: "node"))?.container == id)
        #expect(reader.details(of: .init(pid: 7, name: "sh")) == nil)
        #expect(reader.details(of: .init(pid: 8, name: "node")) == nil)
    }

    @Test("Processes that never let their command line be read hold up nobody else's, while they are few")
    func stuck() async throws {
        let processes = try Processes()
        for pid in Int32(1)...3 { try processes.addStuck(pid) }
        for pid in Int32(10)..<50 { try processes.add(pid, "node", command: Array("node \(pid)".utf8)) }
        let reader = ProcessReader(root: processes.folder.path)
        let answers = Answers()
        for pid in Int32(1)...3 { answers.ask(reader, .init(pid: pid, name: "stuck")) }
        for pid in Int32(10)..<50 { answers.ask(reader, .init(pid: pid, name: "node")) }
        try await eventually { answers.all.count == 40 }
        #expect(answers.all[49] == ProcessDetails(command: "node 49"))
        for pid in Int32(1)...3 {
            // Lets its reader go.
            close(open(processes.commandLine(of: pid), O_WRONLY))
        }
        try await eventually { answers.all.count == 43 }
    }

    @Test("A host that asks for them gets them with the table or soon after; another one gets none")
    func served() async throws {
        let name = try SmallFile.text(of: "/proc/self/comm").dropLast()
        let me = ListeningProcess(pid: getpid(), name: String(name))
        let listener = ListeningSocket(address: .anyV4, port: port(5001), process: me)
        let tables = ScriptedTables()
        tables.publish(listeners: [listener])
        let (asked, others) = (Recorder<ListeningProcess?>(), Recorder<ListeningProcess?>())
        try await withServer(tables) { directory in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (describes, log) in [(true, asked), (false, others)] {
                    let follower = AgentFollower(token: nil, range: .all, describesProcesses: describes) {
                        try StreamSocket.connect(to: directory.rpcAddress)
                    }
                    group.addTask {
                        try await follower.run {
                            if case .table(let table, _) = $0 { log.add(table.listeners.last?.process) }
                        }
                    }
                }
                try await eventually { asked.all.last??.details != nil && !others.all.isEmpty }
                // What is known already comes with the first table that has it.
                let count = asked.all.count
                tables.publish(listeners: [
                    listener, ListeningSocket(address: .anyV4, port: port(5002), process: me),
                ])
                try await eventually { asked.all.count > count && others.all.count == 2 }
                #expect(asked.all[count]?.details != nil)
                group.cancelAll()
            }
        }
        #expect(others.all == [me, me])
        let details = try #require(asked.all.last??.details)
        #expect(details.command.hasPrefix(CommandLine.arguments[0].prefix(200)))
        #expect(details.command.utf8.count <= 256)
    }
}
