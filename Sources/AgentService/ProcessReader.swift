internal import AgentAPI
internal import Glibc
internal import Linux
internal import Ports
internal import Synchronization

/// Has questions about processes. Its methods are called from any thread, and must not wait.
protocol ProcessAsker: AnyObject, Sendable {
    /// Takes the next one, and tells whether it is the last for now; nil when there is none.
    func nextQuestion() -> (process: ListeningProcess, isLast: Bool)?

    /// Gets an answer: nil when the process is gone or has another name by now.
    func learn(_ details: ProcessDetails?, of process: ListeningProcess)
}

/// Reads what /proc tells of processes beyond their names, on threads of its own.
///
/// A command line is in the process's own memory (proc(5)), and whoever reads it may have to wait for as long as that process
/// likes: it can keep its arguments in a file of a FUSE file system. So a few threads read. One that waits does not hold up
/// the others, and when all of them wait, no process is described any more.
final class ProcessReader: Sendable {
    private static let mostThreads = 4
    /// Runtimes' ids have 64 digits.
    private static let longestContainer = 64

    /// One whose stream has ended needs no answers.
    private struct Asker {
        weak var it: (any ProcessAsker)?
    }

    private struct State {
        /// Those with questions, each once. They take turns.
        var askers: [Asker] = []
        var threads = 0
    }

    private let root: String
    private let state = Mutex(State())

    init(root: String = "/proc") { self.root = root }

    /// Answers all questions of `asker`, on other threads, as long as somebody else holds it.
    func answer(_ asker: any ProcessAsker) {
        state.withLock { state in
            state.askers.removeAll { $0.it == nil }
            if !state.askers.contains(where: { $0.it === asker }) { state.askers.append(Asker(it: asker)) }
        }
        startThread()
    }

    /// One more, if there may be one and it has something to do.
    private func startThread() {
        let mustStart = state.withLock { state in
            guard !state.askers.isEmpty, state.threads < Self.mostThreads else { return false }
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
        while let (asker, process) = nextQuestion() {
            startThread()
            asker.learn(details(of: process), of: process)
        }
    }

    private func nextQuestion() -> (any ProcessAsker, ListeningProcess)? {
        state.withLock { state in
            while !state.askers.isEmpty {
                guard let asker = state.askers.removeFirst().it,
                    let (process, isLast) = asker.nextQuestion()
                else { continue }
                if !isLast { state.askers.append(Asker(it: asker)) }
                return (asker, process)
            }
            state.threads -= 1
            return nil
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
