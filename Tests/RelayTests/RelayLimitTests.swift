import AgentChannel
import Glibc
import Linux
import LiveKernel
import Ports
import Synchronization
import TestSupport
import Testing

@testable import Relay

/// What happens at the relay's bounds, and when the guest says no.
@Suite("Relay limits", .serialized)
struct RelayLimitTests {
    @Test("A client is reset at once when the guest refuses", arguments: Tunnel.allCases)
    func refused(_ tunnel: Tunnel) async {
        await #expect(processExitsWith: .success) { [tunnel] in
            let nobody = try TestListener.silent()
            let rig = try RelayRig(tunnel, targets: [nobody.socketAddress])
            let client = try rig.connect()
            #expect(try client.ending() == ECONNRESET)
            #expect(rig.hostListener.counters.failed == 1 && rig.guestListener.counters.failed == 1)
            await rig.end()
            withExtendedLifetime(nobody) {}
        }
    }

    @Test("A reset ends the connections on every loop, a closed listener's too, but no younger ones")
    func resetOfOldConnections() async {
        await #expect(processExitsWith: .success) {
            var options = RelayOptions()
            options.loops = 4
            let rig = try RelayRig(.unix, hostOptions: options)
            // New connections go to the loop with the least of them.
            let old = try (0..<8).map { _ in try rig.pair() }
            for pair in old {
                try pair.client.write([1])
                #expect(try pair.server.read(exactly: 1) == [1])
            }
            var time = timespec()
            clock_gettime(CLOCK_MONOTONIC, &time)
            let young = try rig.pair()
            rig.hostListener.close()
            rig.host.resetConnections(
                acceptedBefore: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
            for pair in old { #expect(try pair.client.ending() == ECONNRESET) }
            try young.client.write([7])
            #expect(try young.server.read(exactly: 1) == [7])
            await rig.end()
        }
    }

    @Test("A client is reset when the token is wrong", arguments: Tunnel.allCases)
    func wrongToken(_ tunnel: Tunnel) async {
        await #expect(processExitsWith: .success) { [tunnel] in
            let rig = try RelayRig(tunnel, token: .random())
            let client = try rig.connect()
            #expect(try client.ending() == ECONNRESET)
            await rig.end()
        }
    }

    /// Only so is the owner of one that has closed already still known.
    @Test("Of a burst of clients all are asked whose they are before they are served one by one")
    func burst() async throws {
        final class Log: Sendable {
            let lines = Mutex<[Bool]>([])
            func note(isServed: Bool) { lines.withLock { $0.append(isServed) } }
        }
        struct Nowhere: RelayHandshake {
            let log: Log
            mutating func next(_ event: HandshakeEvent) -> HandshakeStep {
                log.note(isServed: true)
                return .fail
            }
        }
        let log = Log()
        let socket = try StreamSocket.listen(on: .tcp(.loopbackV4, port: 0))
        let address = try StreamSocket.localAddress(socket.rawValue)
        let clients = try (0..<100).map { _ in Peer(try StreamSocket.connect(to: address)) }
        for client in clients { try client.wait(POLLOUT) }
        var role = RelayRole(tunnel: .dialled) { Nowhere(log: log) }
        role.admitsClient = { _ in
            log.note(isServed: false)
            return true
        }
        var options = RelayOptions()
        options.loops = 1
        let engine = try RelayEngine(options: options)
        let listener = try engine.listen(on: socket, role: role)
        try await eventually("all are served") { listener.counters.failed == 100 }
        let lines = log.lines.withLock { $0 }
        let lastAsked = lines.lastIndex(of: false) ?? 0
        let servedMeanwhile = lines[..<lastAsked].count { $0 }
        #expect(lines.count == 200 && servedMeanwhile < 20)
        await engine.shutdown()
    }

    @Test("The next address is tried when the first refuses", arguments: Tunnel.allCases)
    func secondCandidate(_ tunnel: Tunnel) async {
        await #expect(processExitsWith: .success) { [tunnel] in
            let nobody = try TestListener.silent()
            let server = Peer(try StreamSocket.listen(on: .tcp(.loopbackV6, port: 0)))
            let rig = try RelayRig(
                tunnel, targets: [nobody.socketAddress, StreamSocket.localAddress(server.fd)])
            let client = try rig.connect()
            try client.write([9])
            #expect(try server.accept().read(exactly: 1) == [9])
            await rig.end()
            withExtendedLifetime(nobody) {}
        }
    }

    @Test("Without descriptors accepting pauses, says so once, and goes on when there are some again")
    func outOfDescriptors() async {
        await #expect(processExitsWith: .success) {
            let said = SaidLines()
            let rig = try RelayRig(.unix) { said.append($0) }
            // A process without descriptors can't make sockets either: the clients come first.
            let clients = try (0..<8).map { _ in
                try StreamSocket.open(for: rig.hostListener.address).release()
            }
            let server = rig.server
            var old = rlimit()
            getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &old)
            var none = old
            none.rlim_cur = rlim_t(clients.max() ?? 0)
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &none)
            for client in clients {
                _ = try? rig.hostListener.address.connect(client)
            }
            // Without a turn of the thread pool, and soon over: libdispatch looks at its threads in /proc once a second, and
            // ends the process when it can't open a file there.
            let deadline = ContinuousClock.now + .seconds(10)
            while said.count(of: "accepting pauses") == 0, .now < deadline { usleep(200) }
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &old)
            #expect(said.count(of: "accepting pauses") > 0)
            var served: [Peer] = []
            for _ in clients { served.append(try server.accept()) }
            #expect(served.count == clients.count)
            #expect(said.count(of: "accepting pauses") <= 2)
            for client in clients { close(client) }
            served = []
            try await eventually("all connections end") { rig.host.activeConnections == 0 }
            await rig.end()
        }
    }

    @Test("Above the bound clients wait, and each has its turn")
    func connectionBound() async {
        await #expect(processExitsWith: .success) {
            var options = RelayOptions()
            // Two connections and a listener.
            (options.pipesPerLoop, options.maxDescriptors) = (0, 5)
            let rig = try RelayRig(.unix, hostOptions: options)
            var clients = try (0..<5).map { _ in try rig.connect() }
            for _ in 0..<5 {
                let server = try rig.server.accept()
                #expect(rig.host.activeConnections <= 2)
                try server.write([1])
                server.shutdownWriting()
                let index = try #require(clients.firstIndex { $0.isReadable() })
                #expect(try clients[index].read(exactly: 1) == [1])
                clients.remove(at: index)
            }
            await rig.end()
        }
    }

    @Test("A raised descriptor limit raises the bound on connections")
    func descriptorLimit() async {
        await #expect(processExitsWith: .success) {
            var limit = rlimit()
            getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            limit.rlim_cur = 512
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            let before = RelayOptions().maxDescriptors
            #expect((32..<512).contains(before))
            DescriptorLimit.raise()
            #expect(DescriptorLimit.current == Int(clamping: limit.rlim_max))
            #expect(RelayOptions().maxDescriptors > before)
        }
    }

    @Test("Pipes leave room for connections, however few descriptors and many cores there are")
    func roomBesidePipes() {
        for limit in [1, 40, 64, 128, 256, 1024, 1 << 20] {
            for cores in [1, 2, 4, 64] {
                let options = RelayOptions(descriptors: limit, cores: cores)
                let total = RelayTotal()
                total.connections.store(options.maxDescriptors / 4, ordering: .relaxed)
                #expect(total.hasRoom(options), "\(limit) descriptors, \(cores) cores")
            }
        }
        // A direction and the way back, of six connections in bulk at once.
        #expect(RelayOptions(descriptors: 1024, cores: 4).pipesPerLoop == 24)
    }

    @Test("A tunnel whose host has gone waits for no descriptor any more")
    func goneWithoutDescriptors() async {
        await #expect(processExitsWith: .success) {
            let rig = try RelayRig(.unix)
            let (guest, listener) = (rig.guest, rig.guestListener)
            let host = Peer(try StreamSocket.connect(to: listener.address))
            try await eventually("it is accepted") { guest.activeConnections == 1 }
            let preamble = ForwardPreamble(token: RelayRig.token, port: .ssh).bytes
            try await onThread {
                try withoutDescriptors {
                    #expect(send(host.fd, preamble, preamble.count, 0) == preamble.count)
                    let deadline = ContinuousClock.now + .seconds(3)
                    while listener.counters.putOff == 0, .now < deadline { usleep(200) }
                    #expect(listener.counters.putOff > 0)
                    // Not close(2), which would give a descriptor back.
                    shutdown(host.fd, Int32(SHUT_RDWR))
                    while guest.activeConnections > 0, .now < deadline { usleep(200) }
                    #expect(guest.activeConnections == 0)
                }
            }
            await rig.end()
        }
    }

    @Test("A flood of tunnels that say nothing is bounded, and a host that speaks is served at once")
    func silentFlood() async {
        await #expect(processExitsWith: .success) {
            var options = RelayOptions()
            (options.loops, options.maxSilent, options.silenceTimeout) = (1, 16, .seconds(60))
            let rig = try RelayRig(.unix, guestOptions: options)
            let flood = try (0..<400).map { _ in Peer(try StreamSocket.connect(to: rig.guestListener.address))
            }
            try await eventually("all but the newest are closed") {
                rig.guestListener.counters.accepted == 400 && rig.guest.activeConnections == 16
            }
            // Long before the silent ones' time is up.
            let pair = try rig.pair()
            try pair.client.write([1])
            #expect(try pair.server.read(exactly: 1) == [1])
            // It has shown that it may speak: no further flood takes it away.
            let more = try (0..<100).map { _ in Peer(try StreamSocket.connect(to: rig.guestListener.address))
            }
            try await eventually("of these too only the newest stay") {
                rig.guestListener.counters.accepted == 501 && rig.guest.activeConnections == 17
            }
            try pair.server.write([2])
            #expect(try pair.client.read(exactly: 1) == [2])
            withExtendedLifetime((flood, more)) {}
            await rig.end()
        }
    }

    @Test("A client that goes on talking while its dial waits makes no more dials")
    func talkingWhileWaiting() async {
        await #expect(processExitsWith: .success) {
            let folder = try TestFolder()
            let path = folder.path + "/2223.sock"
            // A backlog of one connection that nobody accepts: every further connect is told to come again.
            let full = try StreamSocket.listen(on: .unix(path: path), backlog: 0)
            let first = try StreamSocket.connect(to: .unix(path: path))
            let engine = try RelayEngine()
            let preamble = ForwardPreamble(token: .none, port: port(5001))
            let listener = try engine.listen(
                on: StreamSocket.listen(on: .tcp(.loopbackV4, port: 0)),
                role: RelayRole(tunnel: .dialled) {
                    HostHandshake(
                        opening: AgentOpening(to: .forward, of: .unix(directory: folder.path)),
                        preamble: preamble)
                })
            let client = Peer(try StreamSocket.connect(to: listener.address))
            try client.wait(POLLOUT)
            let start = ContinuousClock.now
            for _ in 0..<2000 {
                try client.write([1])
                usleep(50)
            }
            // One try each 2 ms; the first may fall on the edge.
            let tries = start.duration(to: .now) / .milliseconds(2)
            #expect(Double(listener.counters.putOff) <= tries + 2)
            _ = (full.rawValue, first.rawValue)
            await engine.shutdown()
        }
    }

    @Test("Ends that come together are all answered")
    func stoppedTwice() async {
        await #expect(processExitsWith: .success) {
            for _ in 0..<50 {
                let engine = try RelayEngine()
                async let first: Void = engine.shutdown()
                async let second: Void = engine.shutdown()
                _ = await (first, second)
            }
        }
    }

    @Test("Paused downloads give their pipes and buffers to those that go on, and lose nothing")
    func pausedDownloads() async {
        await #expect(processExitsWith: .success) {
            var options = RelayOptions()
            (options.loops, options.pipesPerLoop, options.buffersPerLoop, options.splice) = (1, 2, 2, .always)
            let rig = try RelayRig(.unix, hostOptions: options, guestOptions: options)
            // Each holds a pipe or a buffer of both engines until its client reads on.
            let paused = try (0..<8).map { _ in try rig.pair() }
            let sent = try paused.map { try $0.server.fill(3, settle: 50) }
            let pair = try rig.pair()
            async let gone = onThread { try TestStream(seed: 1).send(16 << 20, over: pair.server) }
            #expect(try await onThread { try TestStream(seed: 1).check(from: pair.client) } == 16 << 20)
            _ = try await gone
            for (pair, count) in zip(paused, sent) {
                pair.server.shutdownWriting()
                let all = try await onThread { try pair.client.readToEnd() }
                #expect(all.count == count && all.allSatisfy { $0 == 3 })
            }
            await rig.end()
        }
    }

    @Test("A half-closed connection without a byte ends at its time limit")
    func halfClosedLimit() async {
        await #expect(processExitsWith: .success) {
            var options = RelayOptions()
            // Enough for the end to reach the server.
            options.halfClosedTimeout = .seconds(1)
            let rig = try RelayRig(.unix, hostOptions: options)
            let pair = try rig.pair()
            pair.client.shutdownWriting()
            #expect(try pair.server.readToEnd() == [])
            #expect(try pair.client.ending() == ECONNRESET)
            await rig.end()
        }
    }

    @Test("A small stream beside bulk waits for a few turns of it, not for its end", .tags(.timed))
    func fairness() async {
        await #expect(processExitsWith: .success) {
            var options = RelayOptions()
            options.loops = 1
            let rig = try RelayRig(.unix, hostOptions: options, guestOptions: options)
            let bulk = try rig.pair()
            let small = try rig.pair()
            let stop = StopFlag()
            let (writer, reader) = (bulk.client, bulk.server)
            async let written: Void = onThread {
                let chunk = [UInt8](repeating: 1, count: 1 << 20)
                while !stop.isSet { try writer.write(chunk) }
                writer.shutdownWriting()
            }
            async let read = onThread { try reader.countToEnd() }
            var times: [Duration] = []
            for round in 0..<200 {
                let start = ContinuousClock.now
                try small.client.write([UInt8(round)])
                #expect(try small.server.read(exactly: 1) == [UInt8(round)])
                times.append(start.duration(to: .now))
            }
            // A turn of bulk takes some 0.1 ms. Were the queue of bulk served to its end first, a byte would wait for ever.
            #expect(times.sorted()[100] < .milliseconds(20), "\(times.sorted()[100])")
            stop.set()
            try await written
            #expect(try await read > 1 << 20)
            await rig.end()
        }
    }
}

/// Lines that an engine has logged.
final class SaidLines: Sendable {
    private let lines = Mutex<[String]>([])

    func append(_ line: String) { lines.withLock { $0.append(line) } }
    func count(of text: String) -> Int { lines.withLock { $0.count { $0.contains(text) } } }
}

final class StopFlag: Sendable {
    private let flag = Atomic(false)

    var isSet: Bool { flag.load(ordering: .relaxed) }
    func set() { flag.store(true, ordering: .relaxed) }
}
