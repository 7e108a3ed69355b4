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

        /// Lets the reader of one that is stuck go.
        func release(_ pid: Int32) { close(open(commandLine(of: pid), O_WRONLY)) }
    }

    /// Asks about processes.
    private final class Asker: ProcessAsker {
        private let questions: Mutex<[ListeningProcess]>
        private let answers = Mutex<[Int32: ProcessDetails?]>([:])
        var all: [Int32: ProcessDetails?] { answers.withLock { $0 } }

        init(_ questions: [ListeningProcess]) { self.questions = Mutex(questions) }

        func nextQuestion() -> (process: ListeningProcess, isLast: Bool)? {
            questions.withLock { rest in
                guard let process = rest.first else { return nil }
                rest.removeFirst()
                return (process, rest.isEmpty)
            }
        }

        func learn(_ details: ProcessDetails?, of process: ListeningProcess) {
            answers.withLock { $0[process.pid] = .some(details) }
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
        let asker = Asker(
            (1...3).map { .init(pid: $0, name: "stuck") } + (10..<50).map { .init(pid: $0, name: "node") })
        reader.answer(asker)
        try await eventually { asker.all.count == 40 }
        #expect(asker.all[49] == ProcessDetails(command: "node 49"))
        for pid in Int32(1)...3 { processes.release(pid) }
        try await eventually { asker.all.count == 43 }
    }

    @Test("However many questions wait, all are answered in the end, and those who ask take turns")
    func crowd() async throws {
        let processes = try Processes()
        for pid in Int32(1)...4 { try processes.addStuck(pid) }
        for pid in Int32(10)..<50 { try processes.add(pid, "node", command: Array("node \(pid)".utf8)) }
        let reader = ProcessReader(root: processes.folder.path)
        func table(_ all: [ListeningProcess]) -> ListenTable {
            ListenTable(
                revision: 1, source: ListenSource(mode: .netlink, push: .tracepoint),
                listeners: all.enumerated().map {
                    ListeningSocket(address: .anyV4, port: port(UInt16(5000 + $0)), process: $1)
                })
        }
        let stuck = (Int32(1)...4).map { ListeningProcess(pid: $0, name: "stuck") }
        let gone = (1000..<996 + Int32(AgentLimits.mostDescribed)).map {
            ListeningProcess(pid: $0, name: "gone")
        }
        let few = (Int32(10)..<50).map { ListeningProcess(pid: $0, name: "node") }
        let (crowded, described) = (Recorder<ListenTable>(), Recorder<ListenTable>())
        let (first, second) = (AsyncStream<ListenTable>.makeStream(), AsyncStream<ListenTable>.makeStream())
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (tables, log) in [(first.stream, crowded), (second.stream, described)] {
                group.addTask { try await DescribedTables(reader: reader).send(tables) { log.add($0) } }
            }
            // These keep the threads busy while as many questions wait as there may be.
            first.continuation.yield(table(stuck))
            try await eventually { !crowded.all.isEmpty }
            first.continuation.yield(table(stuck + gone))
            try await eventually { crowded.all.last?.listeners.count == AgentLimits.mostDescribed }
            second.continuation.yield(table(few))
            try await eventually { !described.all.isEmpty }
            for pid in Int32(1)...4 { processes.release(pid) }
            try await eventually("all are described") {
                described.all.last?.listeners.allSatisfy { $0.process?.details != nil } ?? false
            }
            group.cancelAll()
        }
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
