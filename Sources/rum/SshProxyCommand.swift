import AgentAPI
import AgentChannel
import AgentSession
import ArgumentParser
import CLinux
import CommandMain
import Foundation
import Glibc
import Linux
import Machine
import Ports

/// ssh's way to the guest: its standard streams become a connection to the guest's port 22.
struct SshProxyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ssh-proxy",
        abstract: "Connect standard input and output to the guest's sshd; for ssh's ProxyCommand.",
        shouldDisplay: false)

    @OptionGroup var options: MachineOptions

    func run() async throws {
        let machine = try options.choice.machineToReach()
        let running = try await ExecSession(machine: machine, verbose: false).runningMachine()
        let tunnel = try await SshTunnel.open(to: running)
        if let error = await tunnel.copy() {
            throw CommandFailure(
                "the connection to the guest broke: \(error.reason)", hint: "`rum status` tells more",
                status: .unreachable)
        }
    }
}

/// A connection to the guest's sshd over the agent's forward port, in version 1 of its protocol: ssh itself tells a whole
/// transfer from one that was cut off.
final class SshTunnel: Sendable {
    /// A guest that booted this recently may be about to start its sshd.
    private static let boot: UInt64 = 180_000_000_000
    /// How long to wait for that.
    private static let patience = Duration.seconds(90)
    private static let retry = Duration.milliseconds(300)

    private let tunnel: GuestTunnel
    private var socket: Int32 { tunnel.socket.rawValue }

    private init(_ tunnel: GuestTunnel) { self.tunnel = tunnel }

    /// Connects; waits for the sshd of a guest that boots.
    static func open(to machine: RunningMachine) async throws -> SshTunnel {
        let deadline = ContinuousClock.now + patience
        var hasTold = false
        while true {
            let tunnel = try await dial(machine)
            let status: ForwardStatus?
            do throws(SystemError) {
                status = try await tunnel.greet(.ssh, token: machine.token)
            } catch {
                throw CommandFailure.agentUnreachable(.other("\(error)"))
            }
            switch status {
            case .connected: return SshTunnel(tunnel)
            case .refused:
                guard try await boots(machine), ContinuousClock.now < deadline else {
                    throw CommandFailure(
                        "nothing in the guest listens on port 22",
                        hint: """
                            give it an sshd: `rum exec --root -- apt-get install -y openssh-server`, or the like; \
                            `rum shell` and `rum exec` need none
                            """, status: .unreachable)
                }
                if !hasTold { StandardError.line("rum: waiting for the sshd of the guest, which boots") }
                hasTold = true
                try await Task.sleep(for: retry)
            case .notAllowed, .badToken, nil:
                throw CommandFailure(
                    "the guest's agent refuses a connection to port 22", hint: "`rum status` tells more",
                    status: .unreachable)
            }
        }
    }

    private static func dial(_ machine: RunningMachine) async throws -> GuestTunnel {
        do {
            return try await GuestTunnel.dial(machine.address)
        } catch {
            throw CommandFailure.agentUnreachable(AgentProblem(error))
        }
    }

    /// Whether the guest's boot is not long ago; false when its agent does not tell.
    private static func boots(_ machine: RunningMachine) async throws -> Bool {
        let dialer = AgentDialer(address: machine.address)
        let info = try? await AgentConnection.with(dialer, token: machine.token) { $0.info }
        // CLOCK_MONOTONIC begins at boot.
        return info.map { $0.monotonicTime < boot } ?? false
    }

    /// Carries both directions, each to its own end; the error of one that broke.
    func copy() async -> SystemError? {
        async let sending: Void = Self.onThread { self.sendInput() }
        let error = await Self.onThread { self.receive() }
        if error == nil { await sending }
        // One that broke ends the program, though standard input may go on.
        return error
    }

    /// Standard input to the guest. When the guest no longer reads, what comes from there says why.
    private func sendInput() {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = read(STDIN_FILENO, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0, (try? tunnel.send(buffer[..<count])) != nil else { break }
        }
        shutdown(socket, Int32(SHUT_WR))
    }

    /// What comes from the guest to standard output, which is closed at the end.
    private func receive() -> SystemError? {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        try? StreamSocket.limitReads(socket, to: VsockBuffers.checkInterval)
        while true {
            let count = recv(socket, &buffer, buffer.count, 0)
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EAGAIN {
                VsockBuffers.tellPeer(socket)
                continue
            }
            guard count >= 0 else { return .current("recv") }
            guard count > 0 else { break }
            var rest = buffer[..<count]
            while !rest.isEmpty {
                let written = rest.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
                if written < 0, errno == EINTR { continue }
                // Nobody reads any more, so nobody wants to know.
                guard written > 0 else { return nil }
                rest = rest.dropFirst(written)
            }
        }
        close(STDOUT_FILENO)
        return nil
    }

    private static func onThread<Result: Sendable>(_ body: @escaping @Sendable () -> Result) async -> Result {
        await withCheckedContinuation { continuation in
            do throws(SystemError) {
                try DedicatedThread.start(name: "ssh-proxy") { continuation.resume(returning: body()) }
            } catch {
                // No thread is to be had: the pool has to do.
                continuation.resume(returning: body())
            }
        }
    }
}
