import ArgumentParser
import CommandMain
import Control
import Foundation
import Glibc
import Linux
import Machine
import RumConfig

/// Starts the process that forwards in the background: this program again, with a session, streams and folder of its own.
///
/// Not by fork(2): only one thread would live on in the child, and whatever the others hold would stay locked.
struct BackgroundOwner {
    let machine: VirtualMachine
    let agentTimeout: DurationArgument
    let isFresh: Bool
    let verbose: Bool

    /// A background process that was started.
    struct Started {
        let pid: pid_t
        let log: String
        /// Where its words begin.
        let logStart: UInt64

        /// Returns once it serves the machine's control socket, or another process does.
        func untilServing(_ link: OwnerLink) async throws -> ControlHello {
            while true {
                if let hello = try await link.hello() { return hello }
                var status: Int32 = 0
                if waitpid(pid, &status, WNOHANG) == pid {
                    // Another one may have been faster.
                    if let hello = try await link.hello() { return hello }
                    throw failure
                }
                try await Task.sleep(for: .milliseconds(20))
            }
        }

        /// Ends it by force, in case it does not listen.
        func kill() {
            var status: Int32 = 0
            if waitpid(pid, &status, WNOHANG) == 0 { Glibc.kill(pid, SIGTERM) }
        }

        /// Its own words, as it wrote them last.
        private var failure: CommandFailure {
            let lines = LogText.lines(of: log, from: logStart)
            func last(_ prefix: String) -> String? {
                lines.last { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
            }
            return CommandFailure(
                last("error: ") ?? "the background process ended at once",
                hint: last("hint: ") ?? "see \(log)")
        }
    }

    func start() throws(CommandFailure) -> Started {
        let log = machine.files.backgroundLog
        LogFiles.rotate(log, above: 256 << 10)
        do throws(SystemError) {
            let file = try LogFiles.open(log)
            let end = lseek(file.rawValue, 0, SEEK_END)
            // What this command has inherited, such as a lock of a script, is not for a process that stays.
            let pid = try DetachedProcess.start(
                Self.program,
                [
                    "rum", BackgroundCommand.name, "-c", try absolute(machine.config.file), "--timeout",
                    agentTimeout.description,
                ] + (isFresh ? ["--fresh"] : []) + (verbose ? ["-v"] : []),
                environment: ProcessInfo.processInfo.environment, output: file.rawValue)
            return Started(pid: pid, log: log, logStart: UInt64(max(0, end)))
        } catch {
            throw CommandFailure(
                "cannot start the background process: \(error)", hint: "forward in this terminal: `rum up`")
        }
    }

    private func absolute(_ path: String) throws(SystemError) -> String {
        guard let text = realpath(path, nil) else { throw .current("realpath \(path)") }
        defer { free(text) }
        return String(cString: text)
    }

    /// This program by its path, since a process is listed by the name that it was started with; by the kernel's link
    /// where the file has been replaced meanwhile.
    private static var program: String {
        let link = "/proc/self/exe"
        guard let path = try? FileManager.default.destinationOfSymbolicLink(atPath: link),
            access(path, X_OK) == 0
        else { return link }
        return path
    }
}

/// What the background process runs. Users have no use for it.
struct BackgroundCommand: AsyncParsableCommand {
    static let name = "background-owner"
    static let configuration = CommandConfiguration(
        commandName: name, abstract: "Forward in the background; started by `rum up -d`.",
        shouldDisplay: false)

    @OptionGroup var options: MachineOptions
    @OptionGroup var output: EventOutput

    @Option(help: "How long to wait for the agent in the guest.", transform: DurationArgument.read)
    var timeout = DurationArgument(.seconds(600))

    @Flag(help: "The machine was started for it.")
    var fresh = false

    func run() async throws {
        let signals = TerminationSignals.stream()
        let machine = try options.choice.configuredMachine()
        let status = try await explained { () async throws(MachineError) in try await machine.status() }
        guard let running = status.running else {
            throw CommandFailure("\(machine.config.name) does not run", hint: "`rum up -d` starts it")
        }
        let owner = Owner(
            machine, running, output: output, agentTimeout: timeout.duration, isBackground: true,
            isFresh: fresh)
        try await Foreground.run(until: signals) {
            do {
                try await owner.run()
            } catch is OwnedElsewhere {
                throw CommandFailure(
                    "another process forwards the ports of \(machine.config.name)",
                    hint: "`rum ports` shows them")
            }
        }
    }
}
