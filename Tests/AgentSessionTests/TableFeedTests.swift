import AgentAPI
import AgentChannel
import AgentService
import Glibc
import Linux
import Ports
import SwiftProtobuf
import Synchronization
import TestSupport
import Testing

/// The agent's end of a feed, over a socket pair.
@Suite("Feeds of tables", .timeLimit(.minutes(1)))
struct TableFeedTests {
    /// A feed's other end. Blocks up to 20 s for what does not come.
    final class Reader: Sendable {
        private let socket: OwnedDescriptor

        /// Has `feeds` send to it.
        init(_ feeds: TableFeeds, _ range: PortRange = .all) throws {
            var ends: [Int32] = [-1, -1]
            _ = try SystemError.check(
                "socketpair", socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends))
            socket = OwnedDescriptor(owning: ends[0])
            try StreamSocket.setOption(
                socket.rawValue, SOL_SOCKET, SO_RCVTIMEO, timeval(tv_sec: 20, tv_usec: 0), "SO_RCVTIMEO")
            feeds.add(OwnedDescriptor(owning: ends[1]), range: range)
        }

        /// So many bytes; fewer at the end.
        func read(_ count: Int) -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: count)
            var got = 0
            while got < count {
                let more = bytes.withUnsafeMutableBytes {
                    recv(socket.rawValue, $0.baseAddress.map { $0 + got }, count - got, 0)
                }
                guard more > 0 else { break }
                got += more
            }
            return Array(bytes[..<got])
        }

        /// The next table's ports; nil at the end.
        func ports() throws -> [PortNumber]? {
            let header = read(4)
            guard header.count == 4 else { return nil }
            let body = read(header.reduce(0) { $0 << 8 | Int($1) })
            return ListenTable(try Rum_V1_ListeningPortsResponse(serializedBytes: body)).ports
        }

        func say(_ byte: UInt8) {
            _ = withUnsafeBytes(of: byte) { send(socket.rawValue, $0.baseAddress, 1, 0) }
        }
        func endSpeaking() { shutdown(socket.rawValue, Int32(SHUT_WR)) }
    }

    /// Feeds of scripted tables while `body` runs.
    static func withFeeds(
        _ ports: [UInt16], limit: Int = AgentLimits.feeds,
        _ body: (TableFeeds, ScriptedTables) async throws -> Void
    ) async throws {
        let tables = ScriptedTables(ports)
        let feeds = try TableFeeds(limit: limit) { tables.current(in: $0) }
        defer { feeds.close() }
        tables.onPublish { feeds.publish($0) }
        try await body(feeds, tables)
    }

    @Test("Status 0 and the present table come at once, then each table that differs in the range")
    func tables() async throws {
        try await Self.withFeeds([22, 5001]) { feeds, tables in
            let reader = try Reader(feeds, try #require(PortRange(port(5000), port(5999))))
            #expect(reader.read(1) == [0])
            #expect(try reader.ports() == [port(5001)])
            // Some of them at least meet a feed that would send them at once.
            for other in 23...122 as ClosedRange<UInt16> { tables.publish([22, other, 5001]) }
            tables.publish([22, 80, 5001, 5002])
            #expect(try reader.ports() == [port(5001), port(5002)])
        }
    }

    @Test("A table that is published while another one is about to be sent comes after it")
    func meanwhile() async throws {
        let tables = ScriptedTables([1])
        let isReading = Flag()
        let isPublished = Flag()
        let feeds = try TableFeeds { range in
            let table = tables.current(in: range)
            isReading.set()
            isPublished.wait()
            return table
        }
        defer { feeds.close() }
        tables.onPublish { feeds.publish($0) }
        let reader = try Reader(feeds)
        try await eventually { isReading.isSet }
        tables.publish([2])
        isPublished.set()
        #expect(reader.read(1) == [0])
        #expect(try reader.ports() == [port(1)])
        #expect(try reader.ports() == [port(2)])
    }

    private final class Flag: Sendable {
        private let flag = Atomic(false)

        var isSet: Bool { flag.load(ordering: .acquiring) }
        func set() { flag.store(true, ordering: .releasing) }
        /// Blocks the calling thread, 20 s at the most.
        func wait() { for _ in 0..<20_000 where !isSet { usleep(1000) } }
    }

    @Test("A table of many rows comes whole, to a reader that is slower than its writer")
    func large() async throws {
        try await Self.withFeeds([]) { feeds, tables in
            let reader = try Reader(feeds)
            #expect(reader.read(1) == [0])
            #expect(try reader.ports() == [])
            tables.publish(Array(1...60_000))
            #expect(try reader.ports()?.count == 60_000)
        }
    }

    @Test("A reader that does not read gets the newest table, and few of those between")
    func slow() async throws {
        try await Self.withFeeds([]) { feeds, tables in
            let reader = try Reader(feeds)
            // Far more than the socket holds.
            for turn in 1...20_000 { tables.publish([UInt16(turn), 60_000, 60_001, 60_002]) }
            #expect(reader.read(1) == [0])
            var last: [PortNumber]?
            var count = 0
            while last?.first != port(20_000) {
                last = try reader.ports()
                count += 1
                guard last != nil, count < 20_000 else { break }
            }
            #expect(last?.first == port(20_000))
            #expect(count < 19_000)
            // Once it has caught up, tables go straight out again.
            tables.publish([1])
            #expect(try reader.ports() == [port(1)])
        }
    }

    @Test("A reader that ends, or says anything, is forgotten and closed", arguments: 0..<3)
    func end(_ way: Int) async throws {
        try await Self.withFeeds([5001]) { feeds, tables in
            var reader: Reader? = try Reader(feeds)
            let other = try Reader(feeds)
            #expect(reader?.read(1) == [0])
            try await eventually { feeds.count == 2 }
            switch way {
            case 0: reader = nil
            case 1: reader?.endSpeaking()
            default: reader?.say(7)
            }
            try await eventually { feeds.count == 1 }
            while try reader?.ports() != nil {}
            tables.publish([5002])
            #expect(other.read(1) == [0])
            while try other.ports() != [port(5002)] {}
        }
    }

    @Test("Only so many are served; one more is closed, and its place is free again when another ends")
    func limit() async throws {
        try await Self.withFeeds([5001], limit: 2) { feeds, _ in
            var first: Reader? = try Reader(feeds)
            let second = try Reader(feeds)
            #expect(!feeds.hasRoom)
            #expect(try Reader(feeds).read(1).isEmpty)
            #expect(first?.read(1) == [0])
            first = nil
            try await eventually { feeds.hasRoom }
            #expect(try Reader(feeds).read(1) == [0])
            #expect(second.read(1) == [0])
        }
    }

    @Test("Closing ends every connection")
    func close() async throws {
        try await Self.withFeeds([5001]) { feeds, _ in
            let reader = try Reader(feeds)
            #expect(reader.read(1) == [0])
            feeds.close()
            while try reader.ports() != nil {}
            #expect(try Reader(feeds).read(1).isEmpty)
        }
    }
}
