internal import AgentAPI
internal import Glibc
internal import Linux
internal import Ports
internal import Synchronization

/// Reads what /proc tells of processes beyond their names, on threads of its own.
///
/// A command line is in the process's own memory (proc(5)), and whoever reads it may have to wait for as long as that process
/// likes: it can keep its arguments in a file of a FUSE file system. So a few threads read. One that waits does not hold up
/// the others, and when all of them wait, no process is described any more.
final class ProcessReader: Sendable {
    typealias Answer = @Sendable (ProcessDetails?) -> Void

    private static let mostThreads = 4
    private static let mostWaiting = AgentLimits.mostDescribed
    /// Runtimes' ids have 64 digits.
    private static let longestContainer = 64

    private struct Question {
        var process: ListeningProcess
        var answer: Answer
    }

    private struct State {
        var questions: [Question] = []
        var threads = 0
    }

    private let root: String
    private let state = Mutex(State())

    init(root: String = "/proc") { self.root = root }

    /// Calls `answer` on another thread, with nil when the process is gone or has another name by now; never when too many
    /// wait already.
    func read(_ process: ListeningProcess, _ answer: @escaping Answer) {
        let mustStart = state.withLock { state in
            guard state.questions.count < Self.mostWaiting else { return false }
            state.questions.append(Question(process: process, answer: answer))
            guard state.threads < Self.mostThreads else { return false }
            state.threads += 1
            return true
        }
        guard mustStart else { return }
        do {
            try DedicatedThread.start(name: "process-read") { [self] in run() }
        } catch {
            state.withLock { $0.threads -= 1 }
        }
    }

    private func run() {
        while let question = nextQuestion() { question.answer(details(of: question.process)) }
    }

    private func nextQuestion() -> Question? {
        state.withLock { state in
            if state.questions.isEmpty {
                state.threads -= 1
                return nil
            }
            return state.questions.removeFirst()
        }
    }

    /// Waits for the process's memory.
    func details(of process: ListeningProcess) -> ProcessDetails? {
        let directory = "\(root)/\(process.pid)"
        let groups = (try? SmallFile.text(of: "\(directory)/cgroup")) ?? ""
        guard let command = Self.command(of: directory),
            // The number may be another process's by now.
            (try? SmallFile.text(of: "\(directory)/comm")) == process.name + "\n"
        else { return nil }
        let container = PortExplanation.Container(controlGroups: groups)?.name
        return ProcessDetails(
            command: command,
            container: container.map { Self.printable($0.unicodeScalars.prefix(Self.longestContainer)) })
    }

    private static func command(of directory: String) -> String? {
        let file = open("\(directory)/cmdline", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        let descriptor = OwnedDescriptor(owning: file)
        return withUnsafeTemporaryAllocation(byteCount: ProcessDetails.longestCommand, alignment: 1) {
            buffer in
            let count = Glibc.read(descriptor.rawValue, buffer.baseAddress, buffer.count)
            guard count >= 0 else { return nil }
            // Arguments end with a NUL, and titles that processes give themselves with many.
            for index in 0..<count where buffer[index] == 0 { buffer[index] = UInt8(ascii: " ") }
            var text = buffer[..<count]
            while text.last == UInt8(ascii: " ") { text.removeLast() }
            return printable(String(decoding: text, as: UTF8.self).unicodeScalars)
        }
    }

    private static func printable(_ scalars: some Sequence<Unicode.Scalar>) -> String {
        scalars.reduce(into: "") { $0.unicodeScalars.append($1.isPrintable ? $1 : "\u{fffd}") }
    }
}
