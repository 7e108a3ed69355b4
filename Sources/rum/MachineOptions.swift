import ArgumentParser
import CommandMain
import Machine

/// A rum.toml in place of that in this folder or one above.
struct ConfigOption: ParsableArguments {
    @Option(
        name: [.customShort("c", allowingJoined: true), .customLong("config")],
        help: ArgumentHelp(
            "The machine's configuration; else rum.toml in this folder or one above.", valueName: "file"),
        completion: .file(extensions: ["toml"]))
    var config: String?
}

/// The options of commands about a machine.
struct MachineOptions: ParsableArguments {
    @OptionGroup var file: ConfigOption

    @Argument(
        help: "The machine's name, in place of a configuration; `rum list` shows the names.",
        completion: .custom { words, _, _ in words.contains("ports") ? forwardedNames() : machineNames() })
    var name: String?

    var choice: MachineChoice {
        get throws(ValidationError) { try MachineChoice(name: name, config: file.config) }
    }

    func validate() throws { _ = try choice }
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

/// The same of what waits for nothing.
func explainedNow<Result>(_ body: () throws(MachineError) -> Result) throws(CommandFailure) -> Result {
    do throws(MachineError) {
        return try body()
    } catch {
        throw CommandFailure(error)
    }
}
