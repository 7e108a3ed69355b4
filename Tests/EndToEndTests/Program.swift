import Foundation
import Glibc
import Linux
import Synchronization
import TestSupport
import Testing

/// One of the package's programs, as built beside the tests; it is killed with its owner.
final class Program: Sendable {
    private struct State {
        var lines: [String] = []
        var partial: [UInt8] = []
        var status: Int32?
    }

    let pid: pid_t
    private let state = Mutex(State())

    /// Starts it in the network namespace of the calling thread; `environment` replaces variables of this process.
    init(_ name: String, _ arguments: [String], environment: [String: String] = [:]) throws {
        var ends: [Int32] = [0, 0]
        _ = try SystemError.check("pipe", pipe(&ends))
        let reading = OwnedDescriptor(owning: ends[0])
        let writing = OwnedDescriptor(owning: ends[1])
        // Not for the children of other tests, which would keep the pipe open.
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, writing.rawValue, STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, writing.rawValue, STDERR_FILENO)
        let path = Self.folder + "/" + name
        var words: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        let variables = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        var pairs: [UnsafeMutablePointer<CChar>?] = variables.map { strdup("\($0)=\($1)") } + [nil]
        defer { for pair in pairs { free(pair) } }
        var child: pid_t = 0
        let code = posix_spawn(&child, path, &actions, nil, &words, &pairs)
        guard code == 0 else { throw SystemError(code: code, operation: "posix_spawn \(path)") }
        let started = child
        pid = started
        let number = reading.release()
        try DedicatedThread.start(name: "program") { [weak self] in Self.collect(number, started) { self } }
    }

    deinit { kill(pid, SIGKILL) }

    /// What it has printed, standard output and error together.
    var lines: [String] { state.withLock { $0.lines } }

    /// Its exit code, or minus the signal that ended it; nil while it runs.
    var status: Int32? { state.withLock { $0.status } }

    func send(_ signal: Int32) { kill(pid, signal) }

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

    private static func collect(_ number: Int32, _ pid: pid_t, _ owner: @escaping () -> Program?) {
        let pipe = OwnedDescriptor(owning: number)
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(pipe.rawValue, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            owner()?.take(buffer[..<count])
        }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        let code = status & 0x7f == 0 ? (status >> 8) & 0xff : -(status & 0x7f)
        owner()?.state.withLock { $0.status = code }
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

    /// `RUM_TEST_PROGRAMS`, else where SwiftPM puts products: the folder of the test bundle.
    private static var folder: String {
        if let folder = ProcessInfo.processInfo.environment["RUM_TEST_PROGRAMS"] { return folder }
        let tests = CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments[0]
        return URL(fileURLWithPath: tests).deletingLastPathComponent().path
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
