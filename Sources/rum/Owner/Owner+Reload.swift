import CommandMain
import Control
import HostForward
import Linux
import Machine
import Ports
import RumConfig
import Synchronization

/// A rum.toml that has changed while its ports are forwarded.
extension Owner {
    /// Forwards what the file says from now on, and remembers the rest that needs no start. What is wrong with it changes nothing.
    func reload(_ file: String, _ session: ForwardSession) async -> ControlAnswer {
        do {
            let config = try await Self.read(file)
            guard config.name == machine.config.name else {
                return Self.refused(
                    "\(file) is that of the machine \(config.name), not of \(machine.config.name)",
                    hint: "give the one of \(machine.config.name) with -c")
            }
            await session.apply(try await machine.forwardPolicy(of: config))
            provision.withLock { $0 = config.provision }
        } catch let error as ConfigErrors {
            return Self.refused(error.description, hint: error.hint)
        } catch let error as MachineError {
            return Self.refused(error.message, hint: error.hint)
        } catch {
            return Self.refused("cannot read \(file): \(error)", hint: "try again")
        }
        voice.say("The forwards go by \(file) as it is now")
        if let warning = await AutoPorts.blindRules(session) { voice.say(warning) }
        return ControlAnswer(
            isDone: true, reason: "reloaded", sentence: "the forwards go by \(file) as it is now")
    }

    private static func read(_ file: String) async throws -> MachineConfig {
        let result = try await DedicatedThread.run(name: "reload") {
            () -> Result<MachineConfig, ConfigErrors> in
            do throws(ConfigErrors) {
                return .success(try MachineConfig.load(path: file))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private static func refused(_ sentence: String, hint: String) -> ControlAnswer {
        ControlAnswer(isDone: false, reason: "not_reloaded", sentence: sentence, hint: hint)
    }
}
