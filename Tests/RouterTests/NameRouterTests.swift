import AgentChannel
import Glibc
import HostForward
import Linux
import LiveKernel
import PortForward
import Ports
import Relay
import Router
import Synchronization
import TestSupport
import Testing

/// Several machines' routers in one process, each with an engine and an agent of its own.
@Suite("The router of names", .serialized, .timeLimit(.minutes(2)))
struct NameRouterTests {
    /// A machine whose agent only accepts: what reaches it was led there.
    private final class Machine: Sendable {
        let router: NameRouter
        let engine: RelayEngine
        let binder: RelayBinder
        private let folder: TestFolder
        private let agent: OwnedDescriptor
        private let news: News

        private final class News: Sendable {
            let all = Mutex<[RouterNews]>([])
        }

        var told: [RouterNews] { news.all.withLock { $0 } }

        /// Forwards guest ports 5001 and 5002, whose host ports nobody opens.
        ///
        /// - Parameter hold: how long clients wait for their server.
        init(_ name: String, in shared: TestFolder, port number: UInt16, hold: Duration? = nil) throws {
            folder = try TestFolder()
            engine = try RelayEngine()
            agent = try StreamSocket.listen(on: .unix(path: folder.path + "/2223.sock"))
            let target = ForwardTarget(address: .unix(directory: folder.path), token: .none)
            binder = RelayBinder(engine: engine, agent: target)
            var rule = PortRule()
            (rule.label, rule.scheme) = ("web", .https)
            binder.note(
                wanted: [port(5001), port(5002)].map { port in
                    var key = WantedForward.Key(kind: .auto, bind: .loopback, hostPort: port, guestPort: port)
                    key.settings.hold = hold
                    return WantedForward(key: key, rule: rule)
                })
            let news = News()
            self.news = news
            router = NameRouter(
                machine: name, folder: shared.path, ports: try #require(RouterPorts(text: "\(number)")),
                routes: binder.routes, engine: engine
            ) { item in news.all.withLock { $0.append(item) } }
        }

        /// Whether a connection has reached the agent.
        func isReached(within milliseconds: Int32 = 5000) -> Bool {
            var entry = pollfd(fd: agent.rawValue, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, milliseconds) == 1 else { return false }
            let number = accept(agent.rawValue, nil, nil)
            if number >= 0 { _ = OwnedDescriptor(owning: number) }
            return number >= 0
        }

        /// Has the agent answer until the task is cancelled that nothing listens.
        func refuse() async {
            let refused: UInt8 = 1
            while !Task.isCancelled {
                let number = accept(agent.rawValue, nil, nil)
                if number >= 0 {
                    _ = send(number, [refused], 1, Int32(MSG_NOSIGNAL))
                    // Else what is still unread would reset it.
                    var byte: UInt8 = 0
                    while recv(number, &byte, 1, 0) == 1 {}
                    close(number)
                }
                try? await Task.sleep(for: .milliseconds(1))
            }
        }
    }

    /// Asks for a host; the client lives as long as its descriptor.
    private static func ask(_ host: String, _ number: UInt16) throws -> OwnedDescriptor {
        let client = try StreamSocket.connect(to: .tcp(.loopbackV4, port: number))
        var entry = pollfd(fd: client.rawValue, events: Int16(POLLOUT), revents: 0)
        poll(&entry, 1, 5000)
        let text = Array("GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n".utf8)
        _ = try SystemError.check("send", send(client.rawValue, text, text.count, Int32(MSG_NOSIGNAL)))
        return client
    }

    @Test("A rule's label is a name, and one that no rule has is none")
    func label() async throws {
        let (shared, number) = (try TestFolder(), try FreePort.next().rawValue)
        let dev = try Machine("dev", in: shared, port: number)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await dev.router.run() }
            try await eventually { dev.router.port == number }
            let unknown = try Self.ask("api.dev.localhost", number)
            #expect(!dev.isReached(within: 200))
            let machine = "dev.localhost:\(number)/"
            #expect(dev.router.urls == [5001: "https://web.\(machine)", 5002: "https://5002.\(machine)"])
            let client = try Self.ask("web.dev.localhost:\(number)", number)
            #expect(dev.isReached())
            _ = (unknown.rawValue, client.rawValue)
            group.cancelAll()
        }
        await dev.engine.shutdown()
    }

    @Test(
        "Clients by name are counted with those of the host port, also while that is another's or another one",
        arguments: [PortRule.ConflictChoice.next, .wait])
    func counted(_ conflict: PortRule.ConflictChoice) async throws {
        let (shared, number) = (try TestFolder(), try FreePort.next().rawValue)
        let dev = try Machine("dev", in: shared, port: number)
        let wanted = try FreePort.next()
        let holder = try StreamSocket.listen(on: .tcp(.loopbackV4, port: wanted.rawValue))
        var rule = PortRule()
        rule.onConflict = conflict
        let policy = ForwardPolicy(
            autoPorts: PortRange(wanted, wanted).map { AutoPorts(range: $0, rules: [rule]) })
        let reconciler = ForwardReconciler(policy: policy, binder: dev.binder, clock: .system) { _ in }
        await reconciler.apply(table([wanted.rawValue]))
        let forward = try #require(await reconciler.forwards.first)
        #expect(forward.state == (conflict == .next ? .open : .blocked))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await dev.router.run() }
            try await eventually { dev.router.port == number }
            let client = try Self.ask("\(wanted).dev.localhost", number)
            #expect(dev.isReached())
            try await eventually("counted") {
                let counters = await reconciler.forwards.first?.counters
                return counters?.accepted == 1
            }
            // By the number of the host's port, too.
            let second = try Self.ask("\(forward.forward.hostPort).dev.localhost", number)
            #expect(dev.isReached())
            try await eventually("both are counted") {
                await reconciler.forwards.first?.counters.accepted == 2
            }
            _ = (client.rawValue, second.rawValue, holder.rawValue)
            group.cancelAll()
        }
        await reconciler.stop()
        await dev.engine.shutdown()
    }

    @Test("Who waits by name at a port that is blocked waits no longer than it is wanted")
    func waiting() async throws {
        let (shared, number) = (try TestFolder(), try FreePort.next().rawValue)
        let dev = try Machine("dev", in: shared, port: number, hold: .seconds(60))
        let key = try #require(dev.binder.routes.wanted.first?.forward.key)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await dev.router.run() }
            group.addTask { await dev.refuse() }
            try await eventually { dev.router.port == number }
            let client = try Self.ask("5001.dev.localhost", number)
            try await eventually("it is let in") { dev.binder.counters(of: key).active == 1 }
            var entry = pollfd(fd: client.rawValue, events: Int16(POLLIN), revents: 0)
            #expect(poll(&entry, 1, 100) == 0)
            dev.binder.note(wanted: [])
            #expect(poll(&entry, 1, 20_000) == 1)
            var byte: UInt8 = 0
            #expect(recv(client.rawValue, &byte, 1, 0) == -1 && errno == ECONNRESET)
            group.cancelAll()
        }
        await dev.engine.shutdown()
    }

    @Test("The first has the ports and hands clients over; when it ends, the next one takes over")
    func takeOver() async throws {
        let (shared, number) = (try TestFolder(), try FreePort.next().rawValue)
        let (dev, shop) = (
            try Machine("dev", in: shared, port: number), try Machine("shop", in: shared, port: number)
        )
        await withTaskGroup(of: Void.self) { both in
            both.addTask { await dev.router.run() }
            do {
                try await eventually("dev leads") { dev.told == [.open(port: number)] }
                try await withThrowingTaskGroup(of: Void.self) { one in
                    one.addTask { await shop.router.run() }
                    try await eventually("shop follows") { shop.told == [.open(port: number)] }
                    let first = try Self.ask("5001.dev.localhost", number)
                    #expect(dev.isReached())
                    let second = try Self.ask("5001.SHOP.localhost:1", number)
                    #expect(shop.isReached() && !dev.isReached(within: 50))
                    both.cancelAll()
                    _ = (first.rawValue, second.rawValue)
                    // Until dev has ended it still hands clients over, and shop goes by its ports.
                    try await eventually("dev has ended") { dev.router.port == nil }
                    try await eventually("shop leads") {
                        let third = try? Self.ask("5001.shop.localhost", number)
                        return withExtendedLifetime(third) { shop.isReached(within: 20) }
                    }
                    try await eventually("shop has its ports") { shop.router.port == number }
                    one.cancelAll()
                }
            } catch {
                Issue.record(error)
            }
            both.cancelAll()
        }
        // Nobody has it any more.
        let free = try StreamSocket.listen(on: .tcp(.loopbackV4, port: number))
        #expect(free.rawValue >= 0)
        await dev.engine.shutdown()
        await shop.engine.shutdown()
    }

    @Test(
        "Without descriptors other processes wait to join, which is told once and costs nothing, and then they do"
    )
    func outOfDescriptors() async {
        await #expect(processExitsWith: .success) {
            let (shared, number) = (try TestFolder(), try FreePort.next().rawValue)
            let dev = try Machine("dev", in: shared, port: number)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await dev.router.run() }
                try await eventually { dev.told == [.open(port: number)] }
                let address = SocketAddress.unix(path: shared.path + "/router.sock")
                let other = try StreamSocket.prepare(for: address).release()
                let share = try await onThread {
                    try withoutDescriptors {
                        try StreamSocket.beginConnecting(other, to: address)
                        let limit = ContinuousClock.now + .seconds(5)
                        while dev.told.count < 2, .now < limit { usleep(500) }
                        return processorShare(during: .milliseconds(200))
                    }
                }
                #expect(share < 0.25, "of a CPU")
                let error = SystemError(code: EMFILE, operation: "accept4")
                #expect(dev.told == [.open(port: number), .closedToOthers(error)])
                let line = Array("1 shop\n".utf8)
                #expect(send(other, line, line.count, Int32(MSG_NOSIGNAL)) == line.count)
                var entry = pollfd(fd: other, events: Int16(POLLIN), revents: 0)
                #expect(poll(&entry, 1, 5000) == 1 && entry.revents == Int16(POLLIN))
                close(other)
                group.cancelAll()
            }
            await dev.engine.shutdown()
        }
    }

    @Test("A busy port is told with its holder, once, and taken when it is free")
    func busy() async throws {
        let (shared, number) = (try TestFolder(), try FreePort.next().rawValue)
        var holder: OwnedDescriptor? = try StreamSocket.listen(on: .tcp(.loopbackV4, port: number))
        let dev = try Machine("dev", in: shared, port: number)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await dev.router.run() }
            try await eventually("told") { !dev.told.isEmpty }
            guard case .blocked(port(number), let error, let process?) = dev.told.first else {
                throw NeverHappened(what: "a holder in \(dev.told)")
            }
            #expect(error.isAddressInUse && process.pid == getpid())
            #expect(holder?.rawValue ?? -1 >= 0)
            holder = nil
            try await eventually("open") { dev.told.last == .open(port: number) }
            #expect(dev.router.port == number)
            #expect(dev.told.count == 2)
            group.cancelAll()
        }
        await dev.engine.shutdown()
    }

    @Test("A second machine of the same name is told so, and has no names")
    func sameName() async throws {
        let (shared, number) = (try TestFolder(), try FreePort.next().rawValue)
        let (dev, rival) = (
            try Machine("dev", in: shared, port: number), try Machine("DEV", in: shared, port: number)
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await dev.router.run() }
            try await eventually("dev leads") { dev.router.port == number }
            group.addTask { await rival.router.run() }
            try await eventually("told") { rival.told == [.nameTaken] }
            #expect(rival.router.port == nil)
            group.cancelAll()
        }
        await dev.engine.shutdown()
        await rival.engine.shutdown()
    }

    /// The socket and its folder stand open to all, as they never do; only what both ends ask is left.
    private static func open(_ shared: TestFolder) throws {
        #expect(chmod(shared.path, 0o777) == 0)
        let socket = shared.path + "/router.sock"
        if access(socket, F_OK) == 0 { #expect(chmod(socket, 0o777) == 0) }
    }

    @Test(
        "Another user's process can't take part", .enabled(if: geteuid() == 0, "needs a second user"))
    func foreignMember() async throws {
        let (shared, number) = (try TestFolder(), try FreePort.next().rawValue)
        let dev = try Machine("dev", in: shared, port: number)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await dev.router.run() }
            try await eventually("dev leads") { dev.router.port == number }
            try Self.open(shared)
            let said = try await OtherUser.run { [path = shared.path + "/router.sock"] in
                let member = try StreamSocket.connect(to: .unix(path: path))
                var entry = pollfd(fd: member.rawValue, events: Int16(POLLIN), revents: 0)
                _ = send(member.rawValue, "1 shop\n", 7, Int32(MSG_NOSIGNAL))
                var byte: UInt8 = 0
                return poll(&entry, 1, 20_000) == 1 ? recv(member.rawValue, &byte, 1, 0) : -1
            }
            // A member is told the ports first.
            #expect(said <= 0)
            group.cancelAll()
        }
        await dev.engine.shutdown()
    }

    @Test(
        "One who leads as another user is given no names, and hands over no clients",
        .enabled(if: geteuid() == 0, "needs a second user"))
    func foreignLeader() async throws {
        let (shared, number) = (try TestFolder(), try FreePort.next().rawValue)
        let dev = try Machine("dev", in: shared, port: number)
        try Self.open(shared)
        let leader = try await OtherUser.run { [path = shared.path] in
            let lock = OwnedDescriptor(
                owning: try SystemError.check(
                    "open", Glibc.open(path + "/router.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o666)))
            _ = try SystemError.check("flock", flock(lock.rawValue, LOCK_EX | LOCK_NB))
            return [
                try StreamSocket.listen(on: .unix(path: path + "/router.sock")).release(), lock.release(),
            ]
        }
        defer { for number in leader { close(number) } }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await dev.router.run() }
            try await eventually("told") { !dev.told.isEmpty }
            #expect(dev.told == [.failed(SystemError(code: EPERM, operation: "connect"))])
            #expect(dev.router.port == nil)
            group.cancelAll()
        }
        await dev.engine.shutdown()
    }

    @Test("A leader that takes nobody in is asked now and then, not all the time")
    func deafLeader() async throws {
        let (shared, number) = (try TestFolder(), try FreePort.next().rawValue)
        let dev = try Machine("dev", in: shared, port: number)
        let lock = OwnedDescriptor(
            owning: try SystemError.check(
                "open", Glibc.open(shared.path + "/router.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)))
        #expect(try lock.lock())
        let leader = try StreamSocket.listen(on: .unix(path: shared.path + "/router.sock"))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await dev.router.run() }
            var joins = 0
            let end = ContinuousClock.now + .milliseconds(500)
            while .now < end || joins < 4 {
                let member = accept(leader.rawValue, nil, nil)
                if member >= 0 { joins += 1 }
                close(member)
                try await Task.sleep(for: .microseconds(100))
            }
            #expect(joins < 30)
            group.cancelAll()
        }
        await dev.engine.shutdown()
    }

    @Test("What is no process of rum's can't disturb the one with the ports")
    func strangeMembers() async throws {
        let (shared, number) = (try TestFolder(), try FreePort.next().rawValue)
        let dev = try Machine("dev", in: shared, port: number)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await dev.router.run() }
            try await eventually("dev leads") { dev.router.port == number }
            for text in ["", "\n", "9 shop\n", "1 a b\n", String(repeating: "x", count: 100_000)] {
                let member = try StreamSocket.connect(to: .unix(path: shared.path + "/router.sock"))
                let bytes = Array(text.utf8)
                _ = send(member.rawValue, bytes, bytes.count, Int32(MSG_NOSIGNAL))
            }
            let client = try Self.ask("5001.dev.localhost", number)
            #expect(dev.isReached())
            _ = client.rawValue
            group.cancelAll()
        }
        #expect(access(shared.path + "/router.sock", F_OK) != 0)
        await dev.engine.shutdown()
    }
}
