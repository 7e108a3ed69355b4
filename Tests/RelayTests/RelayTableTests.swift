import Glibc
import Linux
import Relay
import TestSupport
import Testing

/// The relay table: every row goes client to server and server to client, over every tunnel.
///
/// One row after the other: each is a process that keeps a core busy.
@Suite("Relay table", .serialized)
struct RelayTableTests {
    enum Way: String, CaseIterable, Codable, CustomTestStringConvertible {
        case clientFirst, serverFirst
        var testDescription: String { rawValue }

        func order(_ pair: (client: Peer, server: Peer)) -> (Peer, Peer) {
            self == .clientFirst ? (pair.client, pair.server) : (pair.server, pair.client)
        }
    }

    @Test("A half-closed side still gets its reply", arguments: Tunnel.allCases, Way.allCases)
    func halfClose(_ tunnel: Tunnel, _ way: Way) async {
        await #expect(processExitsWith: .success) { [tunnel, way] in
            try await RelayRow.run(tunnel) { rig in
                let (asking, answering) = way.order(try rig.pair())
                try asking.write(Array("question".utf8))
                asking.shutdownWriting()
                #expect(try answering.readToEnd() == Array("question".utf8))
                try answering.write(Array("answer".utf8))
                answering.shutdownWriting()
                #expect(try asking.readToEnd() == Array("answer".utf8))
            }
        }
    }

    @Test("A reset reaches the other side", arguments: Tunnel.allCases, Way.allCases)
    func reset(_ tunnel: Tunnel, _ way: Way) async {
        await #expect(processExitsWith: .success) { [tunnel, way] in
            try await RelayRow.run(tunnel) { rig in
                var (leaving, staying): (Peer?, Peer) = way.order(try rig.pair())
                try leaving?.write([1])
                #expect(try staying.read(exactly: 1) == [1])
                leaving?.resetOnClose()
                leaving = nil
                #expect(try staying.ending() == ECONNRESET)
            }
        }
    }

    @Test(
        "A reset while the other side does not read reaches it too", arguments: Tunnel.allCases, Way.allCases)
    func resetWhileBlocked(_ tunnel: Tunnel, _ way: Way) async {
        await #expect(processExitsWith: .success) { [tunnel, way] in
            try await RelayRow.run(tunnel) { rig in
                var (leaving, staying): (Peer?, Peer) = way.order(try rig.pair())
                #expect(try leaving?.fill() ?? 0 > 0)
                leaving?.resetOnClose()
                leaving = nil
                #expect(try staying.ending() == ECONNRESET)
            }
        }
    }

    @Test(
        "A reset that comes before the reply leaves nothing behind", arguments: Tunnel.allCases, Way.allCases)
    func resetAfterHalfClose(_ tunnel: Tunnel, _ way: Way) async {
        await #expect(processExitsWith: .success) { [tunnel, way] in
            try await RelayRow.run(tunnel) { rig in
                var (leaving, staying): (Peer?, Peer) = way.order(try rig.pair())
                staying.shutdownWriting()
                #expect(try leaving?.readToEnd() == [])
                leaving?.resetOnClose()
                leaving = nil
                // A raw unix tunnel can't say any more that this end is no orderly one.
                let ending = try staying.ending()
                #expect(ending == (tunnel.tellsEveryReset ? ECONNRESET : 0))
            }
        }
    }

    @Test("A writer that is blocked does not hold up the other way", arguments: Tunnel.allCases, Way.allCases)
    func blockedWriter(_ tunnel: Tunnel, _ way: Way) async {
        await #expect(processExitsWith: .success) { [tunnel, way] in
            try await RelayRow.run(tunnel) { rig in
                let (blocked, free) = way.order(try rig.pair())
                let written = try blocked.fill(7)
                for round in 0..<100 {
                    let bytes = [UInt8](repeating: UInt8(round), count: 10_000)
                    try free.write(bytes)
                    #expect(try blocked.read(exactly: bytes.count) == bytes)
                }
                blocked.shutdownWriting()
                let all = try free.readToEnd()
                #expect(all.count == written && all.allSatisfy { $0 == 7 })
            }
        }
    }

    @Test("Bulk both ways at once arrives unchanged", arguments: Tunnel.allCases, SpliceChoice.allCases)
    func bulk(_ tunnel: Tunnel, _ splice: SpliceChoice) async {
        await #expect(processExitsWith: .success) { [tunnel, splice] in
            var options = RelayOptions()
            options.splice = splice.use
            if splice == .peekOnly { (options.buffersPerLoop, options.pipesPerLoop) = (0, 0) }
            try await RelayRow.run(tunnel, options: options) { rig in
                let pair = try rig.pair()
                let bytes = splice == .peekOnly ? 8 << 20 : 48 << 20
                async let up = onThread { try TestStream(seed: 1).send(bytes, over: pair.client) }
                async let down = onThread { try TestStream(seed: 2).send(bytes, over: pair.server) }
                async let gotUp = onThread { try TestStream(seed: 1).check(from: pair.server) }
                async let gotDown = onThread { try TestStream(seed: 2).check(from: pair.client) }
                _ = try await (up, down)
                #expect(try await gotUp == bytes)
                #expect(try await gotDown == bytes)
                // A loop counts what it has moved after the other side may have read it.
                try await eventually("counted: \(rig.hostListener.counters)") {
                    let counters = rig.hostListener.counters
                    return counters.bytesForth == UInt64(bytes) && counters.bytesBack == UInt64(bytes)
                }
            }
        }
    }

    /// CPU time of this process so far, all threads.
    static var processTime: Duration {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }

    @Test(
        "A side that never reads costs no time while the other waits, and nothing after it has gone",
        arguments: Tunnel.allCases,
        Way.allCases)
    func neverReads(_ tunnel: Tunnel, _ way: Way) async {
        await #expect(processExitsWith: .success) { [tunnel, way] in
            try await RelayRow.run(tunnel) { rig in
                let (writing, silent) = way.order(try rig.pair())
                #expect(try writing.fill() > 0)
                #expect(rig.host.activeConnections == 1)
                // Blocked, neither engine does anything; one that polls its sockets in vain never rests.
                try await eventually("the engines rest") {
                    let used = Self.processTime
                    usleep(300_000)
                    return Self.processTime - used < .milliseconds(30)
                }
                _ = silent
            }
        }
    }

    @Test(
        "An engine that ends while connections are blocked ends them", arguments: Tunnel.allCases,
        Way.allCases)
    func endWhileBlocked(_ tunnel: Tunnel, _ way: Way) async {
        await #expect(processExitsWith: .success) { [tunnel, way] in
            try await RelayRow.run(tunnel) { rig in
                let (writing, silent) = way.order(try rig.pair())
                #expect(try writing.fill() > 0)
                await rig.host.shutdown()
                // What is written before the reset has come all the way may still find room.
                try await eventually("the writer is told") {
                    (try? writing.write([UInt8](repeating: 0, count: 1 << 20))) == nil
                }
                _ = silent
                await rig.guest.shutdown()
            }
        }
    }

    @Test("A thousand clients that connect and go leave nothing behind", arguments: Tunnel.allCases)
    func connectAndDrop(_ tunnel: Tunnel) async {
        await #expect(processExitsWith: .success) { [tunnel] in
            try await RelayRow.run(tunnel) { rig in
                for index in 0..<1000 {
                    let client = try rig.connect()
                    if index % 3 == 0 { try client.write([1, 2, 3]) }
                    if index % 2 == 0 { client.resetOnClose() }
                }
                // The servers' ends are dropped as well, whatever state they are in.
                try await eventually("every client was taken") {
                    while (try? rig.server.acceptNow()) != nil {}
                    return rig.host.activeConnections == 0
                }
            }
        }
    }

    @Test("A closed listener refuses, and its live connections go on", arguments: Tunnel.allCases)
    func closedListener(_ tunnel: Tunnel) async {
        await #expect(processExitsWith: .success) { [tunnel] in
            try await RelayRow.run(tunnel) { rig in
                let pair = try rig.pair()
                rig.hostListener.close()
                #expect(throws: (any Error).self) { try rig.connect().write([1]) }
                try pair.client.write([5])
                #expect(try pair.server.read(exactly: 1) == [5])
            }
        }
    }

    @Test(
        "Urgent data stays in its place, and what follows it comes through", arguments: Tunnel.allCases,
        Way.allCases)
    func urgent(_ tunnel: Tunnel, _ way: Way) async {
        await #expect(processExitsWith: .success) { [tunnel, way] in
            for splice in [RelayOptions.SpliceUse.whereItPays, .always] {
                var options = RelayOptions()
                options.splice = splice
                try await RelayRow.run(tunnel, options: options) { rig in
                    let (sender, receiver) = way.order(try rig.pair())
                    // Nothing comes behind the mark that could wake a relay which has stopped in front of it.
                    for round in UInt8(0)..<200 {
                        try sender.write([1, 2, 3])
                        try sender.writeUrgent(round)
                        try sender.write([4, 5])
                        #expect(try receiver.read(exactly: 6) == [1, 2, 3, round, 4, 5])
                    }
                    // Enough to make it bulk, which is spliced.
                    let bulk = [UInt8](repeating: 7, count: 256 << 10)
                    async let got = onThread { try receiver.readToEnd() }
                    for round in UInt8(0)..<20 {
                        try sender.write(bulk)
                        try sender.writeUrgent(round)
                        try sender.write([1, 2, 3])
                    }
                    sender.shutdownWriting()
                    let all = try await got
                    #expect(all.count == 20 * (bulk.count + 4))
                    let marks = (0..<20).map { all[$0 * (bulk.count + 4) + bulk.count] }
                    #expect(marks == Array(UInt8(0)..<20))
                }
            }
        }
    }

    @Test(
        "A reset in the middle of a reply whose question has ended is no end of it",
        arguments: Tunnel.allCases,
        Way.allCases)
    func resetInReply(_ tunnel: Tunnel, _ way: Way) async {
        await #expect(processExitsWith: .success) { [tunnel, way] in
            try await RelayRow.run(tunnel) { rig in
                var (replying, asking): (Peer?, Peer) = way.order(try rig.pair())
                asking.shutdownWriting()
                #expect(try replying?.readToEnd() == [])
                try replying?.write([1, 2, 3])
                #expect(try asking.read(exactly: 3) == [1, 2, 3])
                replying?.resetOnClose()
                replying = nil
                #expect(try asking.ending() == (tunnel.tellsEveryReset ? ECONNRESET : 0))
            }
        }
    }

    @Test("Every order of ends is orderly: nobody is reset", arguments: Tunnel.allCases, Way.allCases)
    func orderlyEnds(_ tunnel: Tunnel, _ way: Way) async {
        await #expect(processExitsWith: .success) { [tunnel, way] in
            try await RelayRow.run(tunnel) { rig in
                for round in 0..<50 {
                    let (first, second) = way.order(try rig.pair())
                    try first.write([UInt8(round)])
                    first.shutdownWriting()
                    #expect(try second.read(exactly: 1) == [UInt8(round)])
                    if round % 2 == 0 { #expect(try second.readToEnd() == []) }
                    try second.write([9, 9])
                    second.shutdownWriting()
                    #expect(try first.readToEnd() == [9, 9])
                    #expect(try second.ending() == 0)
                }
            }
        }
    }
}
