import AgentAPI
import CommandMain
import Control
import Foundation
import HostForward
import Linux
import Machine
import PortForward
import Relay
import Router

/// A `rum forward` that has a name: clients reach its ports by that, and other commands ask it and tell it things, as they
/// do with the owner of a machine's forwards.
struct NamedForward: Sendable {
    private let files: ForwardFiles
    private let hello: ControlHello
    private let server: ControlServer
    let voice: OwnerVoice

    /// Takes the name.
    init(_ name: String, output: EventOutput) throws(CommandFailure) {
        let environment = ProcessInfo.processInfo.environment
        guard VirtualMachine(existing: name, environment: environment) == nil else {
            throw CommandFailure(
                "--name: there is a machine \(name)", hint: "choose a name that `rum list` does not show",
                status: .usage)
        }
        files = ForwardFiles(name: name, environment: environment)
        hello = ControlHello(
            rum: rumVersion, machine: name, pid: ProcessInfo.processInfo.processIdentifier,
            isBackground: false)
        voice = OwnerVoice(output: output, isBackground: false)
        do {
            try files.make()
            server = try ControlServer(path: files.controlSocket, hello: hello)
        } catch let error as MachineError {
            throw CommandFailure(error)
        } catch let error as SystemError where error.isAddressInUse {
            throw CommandFailure(
                "another `rum forward` has the name \(name)",
                hint: "end that one, or choose another name; `rum ports \(name)` shows what it forwards")
        } catch {
            throw CommandFailure(
                "cannot serve \(files.controlSocket): \(error)",
                hint: "set RUM_HOME to a short path that you may write to")
        }
    }

    /// Serves and leads clients to the forwards until `body` ends or another command ends all, and lets the name go.
    func run(
        _ session: ForwardSession, _ engine: RelayEngine, _ guest: GuestQuestions,
        _ body: @escaping @Sendable (_ greet: @escaping @Sendable () -> Void) async throws -> Void
    ) async throws {
        let names = try NameRouter.make(for: hello.machine, session, engine, say: voice.say)
        let service = OwnerService(
            hello: hello, session: session, guest: guest, subscribers: voice.subscribers, names: names,
            kind: .command)
        let greetings = AsyncStream<Void>.makeStream()
        defer { files.remove() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            // In a group of its own: it still has to tell how the rest has ended.
            group.addTask { [server, voice] in
                try await server.serve(tell: voice.tellCommandsWait) { await service.handle($0, $1) }
            }
            group.addTask { await names.run() }
            defer { group.cancelAll() }
            try await withThrowingTaskGroup(of: Void.self) { parts in
                parts.addTask { [voice] in
                    await service.untilStopped()
                    if !Task.isCancelled { voice.say("Ended by another command") }
                }
                parts.addTask {
                    for await _ in greetings.stream { await service.tellReport() }
                }
                parts.addTask { try await body { greetings.continuation.yield() } }
                defer { parts.cancelAll() }
                try await parts.next()
            }
            voice.subscribers.tell(.ended(ControlEnd(code: 0)))
        }
    }
}
