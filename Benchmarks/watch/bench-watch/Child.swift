import CLiveKernel
import Glibc
import Linux
import LiveKernel
import Synchronization

/// A process in a namespace, with its standard output read line by line on a thread of its own.
final class Child: Sendable {
    let pid: Int32
    private let lines = Mutex<[(text: String, time: Int64)]>([])

    /// Starts a program; its standard error is ours.
    init(_ command: [String], in namespace: NetworkNamespace) async throws {
        let (pid, output) = try await namespace.run { try Self.spawn(command) }
        self.pid = pid
        try DedicatedThread.start(name: "child-output") { [self] in read(output) }
    }

    /// The lines printed since the last call, each with the time it was read.
    func takeLines() -> [(text: String, time: Int64)] {
        lines.withLock { lines in
            defer { lines = [] }
            return lines
        }
    }

    /// Waits for a line that satisfies `condition`; those before it are dropped.
    func wait(seconds: Double = 10, for condition: (String) -> Bool) -> Bool {
        let deadline = Measure.now + Int64(seconds * 1e9)
        while Measure.now < deadline {
            if takeLines().contains(where: { condition($0.text) }) { return true }
            usleep(1000)
        }
        return false
    }

    /// CPU time in nanoseconds since its start.
    var cpuTime: Int64 { KernelControl.cpuTime(pid: pid) }

    /// How often its threads, or those of one name, gave up the CPU by themselves, that is slept and were woken.
    func wakeUps(ofThreads wanted: String? = nil) -> Int {
        guard let tasks = opendir("/proc/\(pid)/task") else { return 0 }
        defer { closedir(tasks) }
        var sum = 0
        while let entry = readdir(tasks) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let file = fopen("/proc/\(pid)/task/\(name)/status", "r") else { continue }
            var isWanted = true
            defer { fclose(file) }
            var buffer = [CChar](repeating: 0, count: 4096)
            while fgets(&buffer, Int32(buffer.count), file) != nil {
                let line = buffer.withUnsafeBytes { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
                if let wanted, line.hasPrefix("Name:") { isWanted = line.contains(wanted) }
                if isWanted, line.hasPrefix("voluntary_ctxt_switches:") {
                    sum += Int(line.split(whereSeparator: \.isWhitespace).last ?? "") ?? 0
                }
            }
        }
        return sum
    }

    func end() {
        kill(pid, SIGKILL)
        waitpid(pid, nil, 0)
    }

    private static func spawn(_ command: [String]) throws -> (Int32, Int32) {
        var ends: [Int32] = [0, 0]
        _ = try SystemError.check("pipe", pipe(&ends))
        _ = fcntl(ends[0], F_SETFD, FD_CLOEXEC)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_addclose(&actions, ends[1])
        // DedicatedThread blocks all signals; the child must not inherit that.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var arguments = command.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var pid: Int32 = 0
        let code = posix_spawnp(&pid, command[0], &actions, &attributes, &arguments, environ)
        close(ends[1])
        guard code == 0 else { throw SystemError(code: code, operation: "spawn \(command[0])") }
        return (pid, ends[0])
    }

    private func read(_ descriptor: Int32) {
        defer { close(descriptor) }
        var rest: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            guard count > 0 else { return }
            let time = Measure.now
            rest += buffer[..<count]
            while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                let text = String(decoding: rest[..<end], as: UTF8.self)
                rest.removeSubrange(...end)
                lines.withLock { $0.append((text, time)) }
            }
        }
    }
}
