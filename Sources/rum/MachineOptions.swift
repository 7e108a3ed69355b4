import ArgumentParser
import CommandMain
import Foundation
import Machine
import RumConfig

/// Which machine a command is about: that of a rum.toml, or one that exists, by its name.
struct MachineOptions: ParsableArguments {
    @Option(
        name: [.customShort("c"), .customLong("config")],
        help: ArgumentHelp(
            "The machine's configuration; else rum.toml in this folder or one above.", valueName: "file"),
        completion: .file(extensions: ["toml"]))
    var config: String?

    @Argument(
        help: "The machine's name, in place of a configuration; `rum list` shows the names.",
        completion: .custom { _, _, _ in machineNames() })
    var name: String?

    func validate() throws {
        if let name, config != nil {
            throw ValidationError("give either -c or the name \"\(name)\", not both")
        }
    }

    /// The machine, for all but starting it; a named one needs no configuration. Nothing is touched yet.
    func machine() throws(CommandFailure) -> VirtualMachine {
        guard let name else { return try configuredMachine() }
        return try machine(named: name)
    }

    /// Whose forwards the command is about: of the machine, or of a `rum forward` that has the name.
    func forwarded() throws(CommandFailure) -> Forwarded {
        let environment = ProcessInfo.processInfo.environment
        if let name, VirtualMachine(existing: name, environment: environment) == nil,
            let forward = ForwardFiles.all(environment: environment).first(where: { $0.name == name })
        {
            return .command(forward)
        }
        return .machine(try machine())
    }

    /// The machine with its configuration: for a named one, what its rum.toml says now.
    func configuredMachine() throws(CommandFailure) -> VirtualMachine {
        var path = config ?? Self.findConfiguration()
        if let name { path = try machine(named: name).config.file }
        let config: MachineConfig
        do throws(ConfigErrors) {
            config = try MachineConfig.load(path: path)
        } catch {
            var hint = error.hint
            // Who has a machine can do all but start it without its rum.toml.
            if name == nil, !machineNames().isEmpty {
                if !hint.hasSuffix(".") { hint += "." }
                hint += " A machine that exists can also be named: `rum list`, `rum down NAME`."
            }
            throw CommandFailure(error.description, hint: hint, status: .usage)
        }
        if let name, config.name != name {
            throw CommandFailure(
                "\(path) is now that of the machine \(config.name), not of \(name)",
                hint: "give the configuration with -c, or remove the old machine: `rum destroy \(name)`",
                status: .usage)
        }
        let environment = ProcessInfo.processInfo.environment
        return VirtualMachine(
            config: config, agentBundle: Self.agentBundle(environment), environment: environment)
    }

    func machine(named name: String) throws(CommandFailure) -> VirtualMachine {
        let environment = ProcessInfo.processInfo.environment
        guard let machine = VirtualMachine(existing: name, environment: environment) else {
            let isForward = ForwardFiles.all(environment: environment).contains { $0.name == name }
            throw CommandFailure(
                "there is no machine \(name)",
                hint: isForward
                    ? "a `rum forward` has this name; `rum ports \(name)` shows what it forwards"
                    : "`rum list` shows the machines that there are")
        }
        return machine
    }

    /// As the user would name it, when it is in the current folder.
    static func findConfiguration() -> String {
        let folder = FileManager.default.currentDirectoryPath
        guard let found = MachineConfig.find(in: folder), found != folder + "/rum.toml" else {
            return "rum.toml"
        }
        return found
    }

    /// The archive that guests install: `RUM_AGENT_BUNDLE`, else beside this program or in its share folder.
    static func agentBundle(_ environment: [String: String]) -> String {
        if let path = environment["RUM_AGENT_BUNDLE"], !path.isEmpty { return path }
        let name = "rum-agent.tar.gz"
        let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        let folder = program.deletingLastPathComponent()
        let shared = folder.deletingLastPathComponent().appendingPathComponent("share/rum/\(name)").path
        let beside = folder.appendingPathComponent(name).path
        return !FileManager.default.fileExists(atPath: beside)
            && FileManager.default.fileExists(atPath: shared)
            ? shared : beside
    }
}

/// The same of what waits for nothing.
func explainedNow<Result>(_ body: () throws(MachineError) -> Result) throws(CommandFailure) -> Result {
    do throws(MachineError) {
        return try body()
    } catch {
        throw CommandFailure(error)
    }
}

/// The machines that there are, for the shell to complete.
func machineNames() -> [String] {
    VirtualMachine.all(environment: ProcessInfo.processInfo.environment).map(\.config.name)
}

/// How much a command says.
struct TalkOptions: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Say more on standard error.")
    var verbose = false
}

extension CommandFailure {
    init(_ error: MachineError) { self.init(error.message, hint: error.hint) }
}

/// Runs `body` and turns what it says about the machine into what the user reads.
func explained<Result>(_ body: () async throws(MachineError) -> Result) async throws(CommandFailure) -> Result
{
    do throws(MachineError) {
        return try await body()
    } catch {
        throw CommandFailure(error)
    }
}
