internal import Linux
internal import RumConfig
internal import Subprocess
internal import SystemPackage

/// A program of the host that the machine's files are made with.
struct Tool: Hashable, Sendable {
    let name: String
    /// The Debian package that has it.
    let package: String

    static let qemuImg = Tool(name: "qemu-img", package: "qemu-utils")
    static let curl = Tool(name: "curl", package: "curl")
    static let cp = Tool(name: "cp", package: "coreutils")
    static let sha256sum = Tool(name: "sha256sum", package: "coreutils")
    static let sha512sum = Tool(name: "sha512sum", package: "coreutils")
    static let xorriso = Tool(name: "xorriso", package: "xorriso")
    static let genisoimage = Tool(name: "genisoimage", package: "genisoimage")
    static let gzip = Tool(name: "gzip", package: "gzip")
    static let xz = Tool(name: "xz", package: "xz-utils")
    static let zstd = Tool(name: "zstd", package: "zstd")
    static let setfacl = Tool(name: "setfacl", package: "acl")
    static let sh = Tool(name: "sh", package: "dash")
    static let ssh = Tool(name: "ssh", package: "openssh-client")
    static let sshKeygen = Tool(name: "ssh-keygen", package: "openssh-client")

    /// How a program ended.
    struct Outcome: Sendable {
        let succeeded: Bool
        let exitCode: Int32?
        let output: String
        /// The last line of standard error, or a sentence about the exit.
        let complaint: String
    }

    /// Which of `needed` are missing on this host, and what makes the seed: xorriso or genisoimage.
    static func missing(of needed: [Tool]) async -> [Tool] {
        var missing: [Tool] = []
        for tool in needed where await !tool.isInstalled { missing.append(tool) }
        let hasSeedMaker = await xorriso.isInstalled ? true : await genisoimage.isInstalled
        return hasSeedMaker ? missing : missing + [xorriso]
    }

    /// What a start with this configuration runs, beside what makes the seed.
    static func needed(for config: MachineConfig) -> [Tool] {
        var needed = [sha256sum]
        if config.image != nil { needed.append(qemuImg) }
        switch config.image?.base {
        case .url: needed.append(curl)
        case .named: needed += [curl, sha512sum]
        case .path, nil: break
        }
        return needed
    }

    var isInstalled: Bool {
        get async {
            do {
                _ = try await Executable.name(name).resolveExecutablePath(in: .inherit)
                return true
            } catch {
                return false
            }
        }
    }

    /// Runs the program to its end; it is killed when the task is cancelled.
    ///
    /// `input` is its standard input. Throws only when it cannot be started.
    func outcome(of arguments: [String], input: String = "") async throws(MachineError) -> Outcome {
        try await outcome(of: arguments, reading: .string(input))
    }

    func outcome(of arguments: [String], reading input: some InputProtocol) async throws(MachineError)
        -> Outcome
    {
        do {
            let result = try await StartGate.run { [name] gate in
                try await run(
                    .name(name), arguments: Arguments(arguments), input: input,
                    output: .string(limit: MachineLimits.toolOutput),
                    error: .string(limit: MachineLimits.toolOutput)
                ) { _ in gate.started() }
            }
            // ssh ends its lines with a carriage return too.
            let errors = result.standardError.split(whereSeparator: \.isNewline)
            var exitCode: Int32?
            if case .exited(let code) = result.terminationStatus { exitCode = code }
            return Outcome(
                succeeded: result.terminationStatus.isSuccess, exitCode: exitCode,
                output: result.standardOutput,
                complaint: errors.last.map(String.init) ?? "it ended with \(result.terminationStatus)")
        } catch {
            throw launchFailure(error)
        }
    }

    /// Runs the program and writes its standard output to a new file at `path`; a failure becomes an error. It is ended
    /// when the file gets larger than `limit` bytes.
    func write(
        output arguments: [String], to path: String, atMost limit: UInt64 = .max
    ) async throws(MachineError) {
        try MachineFiles.remove(path)
        do {
            let result = try await StartGate.run { [name] gate in
                let file = try FileDescriptor.open(
                    FilePath(path), .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec],
                    permissions: [.ownerReadWrite])
                // The shell's unit is 512 bytes; it gives way to the program.
                let command = ["-c", "ulimit -f \(limit / 512) && exec \"$0\" \"$@\"", name] + arguments
                return try await run(
                    limit == .max ? .name(name) : .name("sh"),
                    arguments: Arguments(limit == .max ? arguments : command), input: .none,
                    output: .fileDescriptor(file, closeAfterSpawningProcess: true),
                    error: .string(limit: MachineLimits.toolOutput)
                ) { _ in gate.started() }
            }
            if result.terminationStatus.isSuccess { return }
            let complaint = result.standardError.split(separator: "\n").last.map(String.init)
            throw MachineError(
                .tool, complaint ?? "\(name) ended with \(result.terminationStatus)", hint: "Try it by hand.")
        } catch let error as MachineError {
            throw error
        } catch {
            throw launchFailure(error)
        }
    }

    var notInstalled: MachineError {
        MachineError(
            .missingTool, "\(name) is not installed",
            hint: "Install it, on Debian with: apt install \(package)")
    }

    /// Why the program could not be run.
    private func launchFailure(_ error: any Error) -> MachineError {
        if let error = error as? SubprocessError, error.code == .executableNotFound { return notInstalled }
        return MachineError(.tool, "\(name) cannot be run: \(error)", hint: "Run \(name) by hand to see why.")
    }

    /// Runs the program and returns its standard output; a failure becomes an error with its last words.
    @discardableResult
    func output(of arguments: [String]) async throws(MachineError) -> String {
        let outcome = try await outcome(of: arguments)
        guard outcome.succeeded else {
            throw MachineError(
                .tool, "\(name) failed: \(outcome.complaint)",
                hint: "Run it by hand to see more: \(([name] + arguments).joined(separator: " "))")
        }
        return outcome.output
    }
}
