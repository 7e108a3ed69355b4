internal import CLinux
internal import Glibc
internal import HostForward
internal import Linux
internal import PortForward
internal import Ports
internal import Relay
internal import Synchronization

/// The thread on which a `NameRouter` leads or follows. Clients' bytes are none of its affairs.
final class RouterThread {
    /// Between two tries to bind the ports, and to take part where something is wrong.
    private static let retry = Duration.seconds(1)
    /// Until the one who has just become the leader serves the socket; twice as long each time that it does not, up to `retry`.
    private static let firstPause = Duration.milliseconds(2)
    /// Until it is tried again to take part with a name that is taken.
    private static let namePause = Duration.seconds(5)
    /// Within it the others join the one who has just become the leader.
    private static let joining = Duration.milliseconds(100)
    /// How long clients that were accepted last are still led to others.
    private static let lastTurn = Duration.milliseconds(20)
    private static let mostMembers = 1024

    private let router: NameRouter
    private let tell: (RouterNews) -> Void
    private var told: RouterNews?
    private var pause = RouterThread.firstPause

    private var socketPath: String { router.folder + "/router.sock" }
    private var directory: RouterDirectory { router.directory }
    private var mustEnd: Bool { router.mustEnd.load(ordering: .acquiring) }

    init(_ router: NameRouter, tell: @escaping (RouterNews) -> Void) {
        self.router = router
        self.tell = tell
    }

    func run() {
        do throws(SystemError) {
            let poller = try Poller()
            router.setWaker(poller.waker)
            while !mustEnd { takePart(poller) }
        } catch {
            tell(.failed(error))
        }
    }

    /// One turn as leader or follower, until it must end or the other one has.
    private func takePart(_ poller: Poller) {
        do throws(SystemError) {
            if let lock = try lock() { return try lead(poller, holding: lock) }
            wait(poller, try follow(poller))
        } catch {
            news(.failed(error))
            wait(poller, Self.retry)
        }
        directory.ports = []
    }

    private func wait(_ poller: Poller, _ time: Duration) {
        guard !mustEnd, (try? poller.watch([])) != nil else { return }
        _ = poller.wait(until: .now + time, onlyTime: true)
    }

    private func news(_ item: RouterNews) {
        guard told != item else { return }
        told = item
        tell(item)
    }

    /// nil when another process has it.
    private func lock() throws(SystemError) -> OwnedDescriptor? {
        let flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW
        let file = OwnedDescriptor(
            owning: try SystemError.check("open", open(router.folder + "/router.lock", flags, 0o600)))
        guard try file.lock() else { return nil }
        return file
    }
}

// MARK: - The leader

extension RouterThread {
    /// A process that has not said for which machine it is.
    private final class Joiner {
        /// nil once it has said so.
        var socket: OwnedDescriptor?
        var line: [UInt8] = []

        init(_ socket: consuming OwnedDescriptor) { self.socket = consume socket }
    }

    private func lead(_ poller: Poller, holding lock: borrowing OwnedDescriptor) throws(SystemError) {
        let door = try ServiceSocket.listen(on: .unix(path: socketPath))
        var listeners: [HostListener] = []
        var joiners: [Joiner] = []
        var pause = AcceptPause { self.news(.closedToOthers($0)) }
        directory.begin(joining: Self.joining)
        defer {
            for listener in listeners { listener.close() }
            serveLast(of: listeners)
            ServiceSocket.remove(.unix(path: socketPath))
            directory.end()
        }
        while !mustEnd {
            if listeners.isEmpty { listeners = bind() }
            let sockets =
                joiners.compactMap { $0.socket?.rawValue } + directory.members.map { $0.socket.rawValue }
            let rest = pause.rest
            try poller.watch((rest == nil ? [door.rawValue] : []) + sockets)
            let limit = rest ?? (listeners.isEmpty ? Self.retry : nil)
            _ = poller.wait(until: limit.map { .now + $0 }, onlyTime: false)
            for member in directory.members where member.hasEnded { directory.remove(member) }
            joiners = joiners.filter { greet($0) }
            accept(from: door, &joiners, &pause)
        }
    }

    /// Waits for clients who were accepted before the ports were closed, most of which have said by then where they want to go.
    private func serveLast(of listeners: [HostListener]) {
        guard !directory.members.isEmpty else { return }
        let end = ContinuousClock.now + Self.lastTurn
        // The event loops have been given them, and may not have begun yet.
        repeat { usleep(1000) } while listeners.contains { $0.counters.active > 0 } && .now < end
    }

    /// All ports of the router, or none.
    private func bind() -> [HostListener] {
        let directory = directory
        var role = RelayRole(entrance: RelayEntrance { directory.decide($0, isHandedOver: false) })
        // A client is not worth a wake-up before it has said something (tcp(7)); most times it has, in one packet.
        role.acceptsSilent = false
        var listeners: [HostListener] = []
        for port in router.settings.ports {
            let forward = WantedForward.Key(kind: .static, bind: .localhost, hostPort: port, guestPort: port)
            do throws(BindFailure) {
                listeners.append(try HostListener(forward, role: role, engine: router.engine))
            } catch {
                for listener in listeners { listener.close() }
                news(.blocked(port, error.error, holder: nil))
                return []
            }
        }
        directory.ports = router.settings.ports.map(\.rawValue)
        for member in directory.members { member.tell(ports: directory.ports) }
        if let first = directory.ports.first { news(.open(port: first)) }
        return listeners
    }

    private func accept(
        from door: borrowing OwnedDescriptor, _ joiners: inout [Joiner], _ pause: inout AcceptPause
    ) {
        while let socket = pause.next(from: door.rawValue) {
            guard PeerUser.isMineOrRoot(socket.rawValue),
                joiners.count + directory.members.count < Self.mostMembers
            else { continue }
            let joiner = Joiner(socket)
            // Most times it has spoken already.
            if greet(joiner) { joiners.append(joiner) }
        }
    }

    /// Reads what it says; false when that is complete, or it has gone.
    private func greet(_ joiner: Joiner) -> Bool {
        var byte: UInt8 = 0
        while let number = joiner.socket?.rawValue {
            let count = recv(number, &byte, 1, 0)
            if count < 0, errno == EAGAIN || errno == EINTR { return true }
            guard count == 1, joiner.line.count < RouterGreeting.limit else { return false }
            guard byte == UInt8(ascii: "\n") else {
                joiner.line.append(byte)
                continue
            }
            guard let machine = RouterGreeting.machine(in: joiner.line), let socket = joiner.socket.take()
            else { return false }
            let member = RouterMember(machine: machine, socket: socket)
            if directory.add(member) { member.tell(ports: directory.ports) } else { member.tellNameTaken() }
            return false
        }
        return false
    }
}

// MARK: - A follower

extension RouterThread {
    /// Takes clients until the leader has gone; returns how long to wait before the next try to take part.
    private func follow(_ poller: Poller) throws(SystemError) -> Duration {
        let next = pause
        pause = min(pause * 2, Self.retry)
        guard let leader = try join() else { return next }
        let (client, greeted) = (target(isGreeted: false), target(isGreeted: true))
        var ports: [UInt8]?
        while !mustEnd {
            try poller.watch([leader.rawValue])
            _ = poller.wait(until: nil, onlyTime: false)
            if let time = try hear(leader, &ports, client: client, greeted: greeted) {
                // One that has taken this process in has ended; another one may not know how to.
                return pause == Self.firstPause ? time : max(time, next)
            }
        }
        return .zero
    }

    /// Connects to the leader and says who this is; nil when it is about to serve, or ends.
    private func join() throws(SystemError) -> OwnedDescriptor? {
        let leader: OwnedDescriptor
        do throws(SystemError) {
            leader = try StreamSocket.connect(to: .unix(path: socketPath))
        } catch {
            guard [ENOENT, ECONNREFUSED, EAGAIN].contains(error.code) else { throw error }
            return nil
        }
        guard PeerUser.isMineOrRoot(leader.rawValue) else {
            throw SystemError(code: EPERM, operation: "connect")
        }
        let line = RouterGreeting.line(machine: router.machine)
        guard send(leader.rawValue, line, line.count, Int32(MSG_NOSIGNAL)) == line.count else { return nil }
        return leader
    }

    /// Takes all that the leader has sent; how long to wait before the next try to take part once it sends no more, else nil.
    ///
    /// - Parameters:
    ///   - ports: what has come so far of a list of ports; nil outside of one.
    ///   - client, greeted: where the clients go that it hands over.
    private func hear(
        _ leader: borrowing OwnedDescriptor, _ ports: inout [UInt8]?, client: RelayTarget,
        greeted: RelayTarget
    ) throws(SystemError) -> Duration? {
        while true {
            var (byte, passed) = (UInt8(0), Int32(-1))
            let count = clinux_receive_descriptor(leader.rawValue, &byte, &passed)
            let socket = passed >= 0 ? OwnedDescriptor(owning: passed) : nil
            if count < 0, errno == EAGAIN || errno == EINTR { return nil }
            guard count == 1 else { return .zero }
            if let text = ports {
                ports = byte == UInt8(ascii: "\n") ? nil : text + [byte]
                if ports == nil { take(ports: text) }
                continue
            }
            switch RouterMessage(rawValue: byte) {
            case .client: adopt(socket, client)
            case .greetedClient: adopt(socket, greeted)
            case .ports: ports = []
            case .nameTaken:
                news(.nameTaken)
                return Self.namePause
            case nil: throw SystemError(code: EPROTO, operation: "router.sock")
            }
        }
    }

    private func take(ports text: [UInt8]) {
        directory.ports = String(decoding: text, as: UTF8.self).split(separator: ",").compactMap {
            UInt16($0)
        }
        if let first = directory.ports.first { news(.open(port: first)) }
        pause = Self.firstPause
    }

    private func target(isGreeted: Bool) -> RelayTarget {
        let directory = directory
        return RelayTarget(
            role: RelayRole(
                entrance: RelayEntrance {
                    directory.decide($0, isHandedOver: true, isGreeted: isGreeted)
                }))
    }

    private func adopt(_ socket: consuming OwnedDescriptor?, _ target: RelayTarget) {
        guard let socket, case .tcp(let address, _, _)? = try? StreamSocket.localAddress(socket.rawValue),
            address.isLoopback
        else { return }
        router.engine.adopt(socket, as: target)
    }
}
