import ArgumentParser
import CommandMain
import Foundation
import Machine
import RumConfig

/// Which machine a command is about.
struct MachineOptions: ParsableArguments {
    @Option(name: [.customShort("c"), .customLong("config")], help: "The machine's configuration.")
    var config = "rum.toml"

    /// The machine of the configuration; nothing is touched yet.
    func machine() throws(CommandFailure) -> VirtualMachine {
        let config: MachineConfig
        do throws(ConfigErrors) {
            config = try MachineConfig.load(path: self.config)
        } catch {
            throw CommandFailure(error.description, hint: error.hint, status: .usage)
        }
        let environment = ProcessInfo.processInfo.environment
        return VirtualMachine(
            config: config, agentBundle: Self.agentBundle(environment), environment: environment)
    }

    /// The archive that guests install: `RUM_AGENT_BUNDLE`, else beside this program or in its share folder.
    private static func agentBundle(_ environment: [String: String]) -> String {
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
