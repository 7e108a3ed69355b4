import Foundation
import Glibc
import Linux
import Synchronization
import TestSupport
import Testing

/// One of the package's programs, as built beside the tests, or another by its path; it is killed with its owner.
final class Program: Sendable {
    private struct State {
        var lines: [String] = []
        var partial: [UInt8] = []
        var status: Int32?
    }

    let pid: pid_t
    private let state = Mutex(State())
    private let unread: [StuckPipe]

    /// Starts it in the network namespace of the calling thread; `environment` replaces variables of this process.
    ///
    /// - Parameter unread: of its standard output and error, those that nobody reads, on pipes that are full.
    init(
        _ name: String, _ arguments: [String], environment: [String: String] = [:], unread: [Int32] = []
    ) throws {
        var ends: [Int32] = [0, 0]
        _ = try SystemError.check("pipe", pipe(&ends))
        let reading = OwnedDescriptor(owning: ends[0])
        let writing = OwnedDescriptor(owning: ends[1])
        // Not for the children of other tests, which would keep the pipe open.
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var outputs = [STDOUT_FILENO: writing.rawValue, STDERR_FILENO: writing.rawValue]
        var stuck: [StuckPipe] = []
        for number in unread {
            let pipe = try StuckPipe()
            outputs[number] = pipe.writing.rawValue
            stuck.append(pipe)
        }
        self.unread = stuck
        let path = name.hasPrefix("/") ? name : builtPrograms + "/" + name
        let started = try Self.spawn(path, arguments, environment, outputs)
        pid = started
        let number = reading.release()
        try DedicatedThread.start(name: "program") { [weak self] in
            Self.collect(number) { self }
            var status: Int32 = 0
            while waitpid(started, &status, 0) < 0, errno == EINTR {}
            let code = status & 0x7f == 0 ? (status >> 8) & 0xff : -(status & 0x7f)
            self?.state.withLock { $0.status = code }
        }
    }

    private static func spawn(
        _ path: String, _ arguments: [String], _ environment: [String: String], _ outputs: [Int32: Int32]
    ) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (number, descriptor) in outputs {
            posix_spawn_file_actions_adddup2(&actions, descriptor, number)
        }
        var words: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        // The router's port is the whole machine's, and no test's.
        let own = ["RUM_ROUTER_PORT": "off"].merging(environment) { $1 }
        let variables = ProcessInfo.processInfo.environment.merging(own) { $1 }
        var pairs: [UnsafeMutablePointer<CChar>?] = variables.map { strdup("\($0)=\($1)") } + [nil]
        defer { for pair in pairs { free(pair) } }
        var child: pid_t = 0
        let code = posix_spawn(&child, path, &actions, nil, &words, &pairs)
        guard code == 0 else { throw SystemError(code: code, operation: "posix_spawn \(path)") }
        return child
    }

    /// Reads what was unread so far, from now on.
    func readUnread() throws {
        for pipe in unread {
            let number = try pipe.reading.duplicate().release()
            try DedicatedThread.start(name: "program") { [weak self] in Self.collect(number) { self } }
        }
    }

    deinit {
        // Its number may be another process's once it has been waited for.
        if status == nil { kill(pid, SIGKILL) }
    }

    /// What it has printed, standard output and error together.
    var lines: [String] { state.withLock { $0.lines } }

    /// Its exit code, or minus the signal that ended it; nil while it runs.
    var status: Int32? { state.withLock { $0.status } }

    func send(_ signal: Int32) { kill(pid, signal) }

    /// Whether it has a handler for a signal, which ends it before (proc(5), SigCgt).
    func takes(_ signal: Int32) -> Bool {
        let status = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("SigCgt:") }
        let caught = line.flatMap { UInt64($0.split(separator: "\t").last ?? "", radix: 16) } ?? 0
        return caught >> UInt64(signal - 1) & 1 == 1
    }

    /// How many descriptors it has open.
    var descriptors: Int {
        ((try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd")) ?? []).count
    }

    /// Waits until it has printed a line that contains `text`.
    func waits(for text: String, times: Int = 1) async throws {
        try await eventually("\"\(text)\" from \(pid); it said: \(lines.suffix(20))") {
            self.lines.count { $0.contains(text) } >= times
        }
    }

    private static func collect(_ number: Int32, _ owner: @escaping () -> Program?) {
        let pipe = OwnedDescriptor(owning: number)
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(pipe.rawValue, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            owner()?.take(buffer[..<count])
        }
    }

    private func take(_ bytes: ArraySlice<UInt8>) {
        state.withLock { state in
            for byte in bytes {
                if byte == UInt8(ascii: "\n") {
                    state.lines.append(String(decoding: state.partial, as: UTF8.self))
                    state.partial = []
                } else {
                    state.partial.append(byte)
                }
            }
        }
    }

    /// Whether the programs under test are those that users get, whose speed means something.
    static let isRelease = ProcessInfo.processInfo.environment["RUM_TEST_PROGRAMS"] != nil
}

/// A pipe that is full.
private final class StuckPipe: Sendable {
    let reading: OwnedDescriptor
    let writing: OwnedDescriptor

    init() throws {
        var ends: [Int32] = [0, 0]
        _ = try SystemError.check("pipe", pipe(&ends))
        reading = OwnedDescriptor(owning: ends[0])
        writing = OwnedDescriptor(owning: ends[1])
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        // F_GETPIPE_SZ, which Glibc's module leaves out.
        let size = try SystemError.check("fcntl", fcntl(ends[1], 1032))
        let line = [UInt8](repeating: UInt8(ascii: "x"), count: Int(size) - 1) + [UInt8(ascii: "\n")]
        _ = try SystemError.check("write", write(ends[1], line, line.count))
    }
}

/// Work of a test that blocks.
struct BackgroundThread: Sendable {
    private let ended = AsyncStream<Void>.makeStream()

    init(_ body: @escaping @Sendable () -> Void) throws {
        let continuation = ended.continuation
        try DedicatedThread.start(name: "test") {
            body()
            continuation.finish()
        }
    }

    /// Returns when the work is done.
    func end() async {
        for await _ in ended.stream {}
    }
}
