import AgentChannel
import AgentService
import ArgumentParser
import CommandMain
import Glibc
import GuestForward
import Linux
import ListenWatch
import Ports
import Relay

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Run the daemon (the default).")

    @OptionGroup var watch: WatchOptions

    @Option(
        help: ArgumentHelp(
            "Where to listen: vsock, unix:DIR or tcp:HOST[:PORT]; may be given more than once (default: vsock).",
            discussion: "RPC on 2222, forwards on 2223.",
            valueName: "address"),
        transform: ListenAddress.read)
    var listen: [ListenAddress] = [.vsock]

    @Option(
        help: ArgumentHelp(
            "A file with the machine's token, 64 hexadecimal digits, which every caller must show.",
            valueName: "file"))
    var tokenFile: String?

    @Option(
        help: ArgumentHelp(
            "A file in which programs of the guest find where the host forwards which port, while it does.",
            valueName: "file"))
    var portsFile: String?

    func validate() throws {
        guard Set(listen).count == listen.count else {
            throw ValidationError("--listen: the same address was given twice")
        }
        if tokenFile == nil, let open = listen.first(where: \.isTCP) {
            throw ValidationError(
                "--listen \(open): over tcp anybody could connect, so --token-file is required")
        }
    }

    /// With fewer, strangers that say nothing could use up what the relay leaves to all else: the agent itself has some 30 open,
    /// and one for each CPU.
    private static let fewestDescriptors = 512

    func run() async throws {
        // Two descriptors a connection: the engine's bound follows the limit.
        DescriptorLimit.raise()
        guard DescriptorLimit.current >= Self.fewestDescriptors else {
            throw CommandFailure(
                "rum-agent may open \(DescriptorLimit.current) descriptors, and needs \(Self.fewestDescriptors)",
                hint: "raise its limit: ulimit -n in a shell, LimitNOFILE= in a unit of systemd")
        }
        let signals = TerminationSignals.stream()
        let token = try tokenFile.map(TokenFile.read)
        // Only these are this process's to remove.
        var bound: [SocketAddress] = []
        defer { for address in bound { ServiceSocket.remove(address) } }
        // Before there is a watcher, which has things to say: what fails here is the last that is said.
        var doors: [(address: ListenAddress, rpc: Int32)] = []
        for address in listen {
            doors.append((address, try await listeningSocket(address)))
            bound.append(address.socketAddress(for: .rpc))
        }
        let watcher = try await watch.startedWatcher(
            hidden: Set(listen.flatMap(\.listeners)), note: { Self.log($0) }, log: { Self.log($0) })
        let engine = try RelayEngine(log: { Self.log($0) })
        let targets = DialTargets { watcher.listeners(on: $0) }
        let feeds = try TableFeeds { watcher.current(in: $0) }
        watcher.onPublish { feeds.publish($0) }
        let forwarder = GuestForwarder(
            engine: engine, token: token ?? .none, targets: targets, tables: feeds)
        let shared = portsFile.map { SharedForwards(path: $0) { Self.log($0) } }
        let server = AgentServer(
            service: RumAgentService(
                tables: watcher, hostname: GuestIdentity.hostname, instanceID: GuestIdentity.newInstanceID(),
                bootID: GuestIdentity.bootID, forwardVersion: UInt32(ForwardVersion.newest.rawValue),
                shared: shared),
            token: token)
        defer {
            forwarder.close()
            watcher.stop()
            feeds.close()
            shared?.close()
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (address, rpc) in doors {
                _ = try await Self.bind(address) { () throws(SystemError) in
                    try forwarder.listen(on: address.socketAddress(for: .forward))
                }
                group.addTask { try await server.serve(on: OwnedDescriptor(owning: rpc)) }
                Self.log(address.announcement(hasToken: token != nil))
            }
            Self.log("mode \(watcher.source.mode.rawValue), push \(watcher.source.push.rawValue)")
            group.addTask {
                for await number in signals {
                    Self.log("ending on signal \(number)")
                    return
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
        await engine.shutdown()
    }

    /// Opens the RPC socket of an address; the number is the caller's.
    private func listeningSocket(_ address: ListenAddress) async throws -> Int32 {
        try await Self.bind(address) { () throws(SystemError) in
            try ServiceSocket.listen(on: address.socketAddress(for: .rpc)).release()
        }
    }

    /// How long an address may be in use: that long an agent that was killed may take to be gone, while the kernel takes its events
    /// away and its sockets still answer.
    private static let patience = Duration.milliseconds(500)

    private static func bind<Result>(
        _ address: ListenAddress, _ body: () throws(SystemError) -> Result
    ) async throws -> Result {
        let end = ContinuousClock.now + patience
        while true {
            do throws(SystemError) {
                return try body()
            } catch {
                guard error.code == EADDRINUSE, ContinuousClock.now < end else {
                    throw failure(address, error)
                }
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    private static func failure(_ address: ListenAddress, _ error: SystemError) -> CommandFailure {
        let hint =
            switch error.code {
            case EADDRINUSE: "another rum-agent serves it; stop that one, or choose another --listen"
            case EAFNOSUPPORT, ENODEV: "this guest has no vsock device; use --listen tcp:HOST or unix:DIR"
            case ENOENT: "make the directory first"
            default: "choose another --listen"
            }
        return CommandFailure("cannot listen on \(address): \(error)", hint: hint)
    }

    private static func log(_ line: String) { StandardError.line("rum-agent: \(line)") }
}

extension ListenWatcher: ListenTableProvider {}
