import ArgumentParser
import CommandMain
import Foundation
import Machine
import RumConfig

/// Which machine a command is about: one that exists, by its name, or that of a rum.toml; where neither is given, of that in
/// this folder or one above.
struct MachineChoice: Equatable {
    let name: String?
    let config: String?

    /// - Parameter config: the path of the rum.toml.
    init(name: String?, config: String?) throws(ValidationError) {
        if let name, config != nil {
            throw ValidationError("give either -c or the name \"\(name)\", not both")
        }
        // Such as that of a shell's variable that is not set.
        if name?.isEmpty ?? false { throw ValidationError("the machine's name is empty") }
        if config?.isEmpty ?? false { throw ValidationError("the path after -c is empty") }
        (self.name, self.config) = (name, config)
    }

    /// The machine, for all but starting it; a named one needs no configuration. Nothing is touched yet.
    func machine() throws(CommandFailure) -> VirtualMachine {
        guard let name else { return try configuredMachine() }
        return try Self.machine(named: name)
    }

    /// The same for commands whose exit code is that of a command in the guest: what fails before that is `unreachable`.
    func machineToReach() throws(CommandFailure) -> VirtualMachine {
        do throws(CommandFailure) {
            return try machine()
        } catch {
            guard error.status == .failed else { throw error }
            throw CommandFailure(error.message, hint: error.hint, status: .unreachable)
        }
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
        let path = try configPath()
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
            config: config, agentBundle: Self.agentBundle(environment), environment: environment,
            tell: ProgressPrinter().show)
    }

    static func machine(named name: String) throws(CommandFailure) -> VirtualMachine {
        let environment = ProcessInfo.processInfo.environment
        guard
            let machine = VirtualMachine(
                existing: name, environment: environment, tell: ProgressPrinter().show)
        else {
            let isForward = ForwardFiles.all(environment: environment).contains { $0.name == name }
            throw CommandFailure(
                "there is no machine \(name)",
                hint: isForward
                    ? "a `rum forward` has this name; `rum ports \(name)` shows what it forwards"
                    : "`rum list` shows the machines that there are")
        }
        return machine
    }

    /// The path of its rum.toml, whether or not that is there; as the user would name it, when it is in the current folder.
    func configPath() throws(CommandFailure) -> String {
        if let name { return try Self.machine(named: name).config.file }
        if let config { return config }
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
