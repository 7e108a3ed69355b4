import Foundation
import Glibc
import Linux
import Machine
import TestSupport
import Testing

@testable import rum

@Suite("Logs")
struct LogTextTests {
    @Test("Colours and cursor movements do not reach the terminal, and what is left is safe")
    func shown() {
        #expect(LogText.shown("[\u{1b}[0;32m  OK  \u{1b}[0m] Started") == "[  OK  ] Started")
        #expect(LogText.shown("a\u{1b}]0;title\u{7}b\u{1b}(c\td") == "abc    d")
        #expect(LogText.shown("a\u{8}b\u{202e}c\u{1b}") == "a\\u{8}b\\u{202e}c")
        #expect(LogText.shown("\u{1b}[") == "" && LogText.shown("\u{1b}]x") == "")
    }

    @Test("The lines of the agent and of provisioning are told by their name")
    func selection() {
        let lines = [
            "[    3.141592] rum-agent[312]: mode netlink",
            "[    4.5] rum-provision[400]: rum-agent[1]: forged",
            "[    1.0] systemd[1]: Started rum-agent", "rum-agent[312]: no time", "rum-agents[1]: other",
        ]
        #expect(lines.filter { LogSelection.agent.contains($0) } == [lines[0], lines[3]])
        #expect(lines.filter { LogSelection.provision.contains($0) } == [lines[1]])
        #expect(lines.filter { LogSelection.console.contains($0) } == lines)
    }

    private func append(_ text: String, to path: String) throws {
        let file = try #require(FileHandle(forWritingAtPath: path))
        try file.seekToEnd()
        try file.write(contentsOf: Data(text.utf8))
        try file.close()
    }

    @Test("A log is read on as it grows, is cut, and is replaced")
    func reader() throws {
        let folder = try TestFolder()
        let path = try folder.file("log", "one\r\ntwo\nthr")
        let reader = try LogReader(path)
        #expect(try reader.next() == ["one", "two"])
        try append("ee\n", to: path)
        #expect(try reader.next() == ["three"])
        #expect(!reader.beginAgainIfReplaced())
        #expect(truncate(path, 0) == 0)
        #expect(reader.beginAgainIfReplaced())
        try append("four\n", to: path)
        #expect(try reader.next() == ["four"])
        #expect(rename(path, path + ".1") == 0)
        #expect(!reader.beginAgainIfReplaced())
        _ = try folder.file("log", "five")
        #expect(reader.beginAgainIfReplaced())
        #expect(try reader.next() == [])
        #expect(reader.rest() == "five")
        #expect(throws: SystemError.self) { try LogReader(folder.path + "/none") }
    }

    @Test("A line without an end is broken into pieces")
    func endless() throws {
        let folder = try TestFolder()
        let path = try folder.file("log", String(repeating: "x", count: 3 * LogText.longestLine + 5))
        let reader = try LogReader(path)
        #expect(
            try reader.next().map(\.count) == [LogText.longestLine, LogText.longestLine, LogText.longestLine])
        #expect(try reader.next() == [])
        #expect(reader.rest() == "xxxxx")
    }

    @Test("The background process's log is rotated under it, and a console's log keeps its end")
    func bounds() throws {
        let folder = try TestFolder()
        let path = folder.path + "/log"
        let log = try LogFiles.open(path)
        #expect(try mode(of: path) == 0o600)
        func say(_ text: String) { _ = Glibc.write(log.rawValue, text, text.utf8.count) }
        say("old\n")
        LogFiles.rotate(path, above: 100, descriptors: [log.rawValue])
        #expect(try readText(path) == "old\n")
        LogFiles.rotate(path, above: 3, descriptors: [log.rawValue])
        say("new\n")
        #expect(try readText(path) == "new\n")
        #expect(try readText(LogFiles.earlier(path)) == "old\n")
        LogFiles.cut(path, above: 100, to: 2)
        #expect(try readText(path) == "new\n")
        LogFiles.cut(path, above: 3, to: 2)
        say("more\n")
        #expect(try readText(path) == "w\nmore\n")
    }

    @Test("Logs that nobody can open hold up neither other tasks nor the end of the owner")
    func stuck() async {
        await #expect(processExitsWith: .success) {
            _ = signal(SIGIO, SIG_IGN)
            let folder = try TestFolder()
            let logs = (0..<ProcessInfo.processInfo.activeProcessorCount + 2).map { number in
                MachineFiles(machine: "m\(number)", environment: ["RUM_HOME": folder.path])
            }
            // Whoever opens a file with a lease (F_SETLEASE, fcntl(2)) waits until its holder lets it go, up to 45 s.
            let leases = try logs.map { files in
                let path = try folder.file(
                    "machines/\(files.directory.split(separator: "/").last ?? "")/console.log")
                #expect(path == files.consoleLog && truncate(path, 17 << 20) == 0)
                let file = open(path, O_RDWR | O_CLOEXEC)
                #expect(fcntl(file, 1024, F_WRLCK) == 0)
                return file
            }
            let start = ContinuousClock.now
            await withTaskGroup(of: Void.self) { group in
                for files in logs { group.addTask { await LogFiles.keepSmall(files, withOwn: false) } }
                // A lease that somebody waits for is one to be given up (F_GETLEASE).
                try? await eventually { leases.allSatisfy { fcntl($0, 1025) != F_WRLCK } }
                group.cancelAll()
            }
            #expect(.now < start + .seconds(20))
            for lease in leases { close(lease) }
            try await eventually("all are cut") {
                logs.allSatisfy { (try? readText($0.consoleLog).utf8.count) == 4 << 20 }
            }
        }
    }
}
