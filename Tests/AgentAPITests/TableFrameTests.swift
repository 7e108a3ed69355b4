import AgentAPI
import Linux
import Ports
import SwiftProtobuf
import Testing

@Suite("Frames of tables")
struct TableFrameTests {
    static func table(_ ports: ClosedRange<UInt16>, revision: UInt64) -> ListenTable {
        ListenTable(
            revision: revision, source: ListenSource(mode: .netlink, push: .tracepoint),
            listeners: ports.compactMap(PortNumber.init).map {
                ListeningSocket(
                    address: .loopbackV6, port: $0, process: ListeningProcess(pid: 7, name: "node"),
                    listenedAt: 5)
            })
    }

    /// Every table of `bytes`, which are given in pieces of this size.
    static func tables(_ bytes: [UInt8], pieces: Int) throws(TableFrame.Problem) -> [ListenTable] {
        var reader = TableFrameReader()
        var found: [ListenTable] = []
        var start = 0
        while start < bytes.count {
            var piece = bytes[start..<min(bytes.count, start + pieces)]
            start += piece.count
            while let table = try reader.next(from: &piece) { found.append(table) }
        }
        return found
    }

    @Test(
        "Tables come out as they went in, whatever pieces they come in", arguments: [1, 3, 4, 5, 64, 100_000])
    func pieces(_ size: Int) throws {
        let sent = [
            Self.table(1...1, revision: 1), Self.table(5001...5200, revision: 2),
            Self.table(9...9, revision: 3),
        ]
        #expect(try Self.tables(sent.flatMap(\.frame), pieces: size) == sent)
    }

    @Test("A frame is a length, big-endian, and the message; an empty message is an empty table")
    func golden() throws {
        let table = Self.table(80...80, revision: 9)
        let message: [UInt8] = try table.message.serializedBytes()
        #expect(table.frame == [0, 0, 0, UInt8(message.count)] + message)
        #expect(try Self.tables([0, 0, 0, 0, 0, 0], pieces: 6).map(\.listeners) == [[]])
    }

    @Test("Whatever is in a table, it is encoded as the generated code does it")
    func encoding() throws {
        for table in try Self.variety() {
            let message: [UInt8] = try table.message.serializedBytes()
            #expect(Array(table.frame.dropFirst(TableFrame.headerSize)) == message)
        }
    }

    /// A message, and what the generated code makes of it; nil where it makes nothing.
    static func generated(_ bytes: [UInt8]) -> ListenTable? {
        guard (try? bytes.withUnsafeBytes { try TableBounds.check($0) }) != nil else { return nil }
        return (try? Rum_V1_ListeningPortsResponse(serializedBytes: bytes)).map { ListenTable($0) }
    }

    static func read(_ bytes: [UInt8]) -> ListenTable? {
        let length = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: bytes.count >> $0) }
        return try? tables(length + bytes, pieces: bytes.count + 4).first
    }

    @Test("Whatever comes as a message is read as the generated code does it, whole, cut off or damaged")
    func decoding() throws {
        var random = UInt64(88_172_645_463_325_252)
        for table in try Self.variety() {
            let message: [UInt8] = try table.message.serializedBytes()
            #expect(Self.read(message) == table)
            for length in 0..<message.count {
                let cut = Array(message[..<length])
                #expect(Self.read(cut) == Self.generated(cut))
            }
            for _ in 0..<3000 where !message.isEmpty {
                random ^= random << 13
                random ^= random >> 7
                random ^= random << 17
                var damaged = message
                damaged[Int(random % UInt64(message.count))] = UInt8(truncatingIfNeeded: random >> 32)
                // Groups are the one thing that is not passed over.
                guard let read = Self.read(damaged) else { continue }
                #expect(read == Self.generated(damaged))
            }
        }
    }

    @Test(
        "Fields that only a newer agent knows, and ports without rows, are read as the generated code does it"
    )
    func unusual() throws {
        let rows: [[UInt8]] = [
            // Ports one by one; too large ones; packed ones of which one has a row.
            [
                8, 80, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 10, 3, 81, 0x90, 0x4e, 0x12, 8, 10, 4, 127, 0, 0,
                1, 16, 81,
            ],
            // Unknown numbers, texts and fixed numbers; known fields of another kind.
            [
                0xc0, 0x3e, 7, 0xca, 0x3e, 1, 9, 0xc5, 0x3e, 1, 2, 3, 4, 0xc1, 0x3e, 1, 2, 3, 4, 5, 6, 7, 8,
                26, 1, 1, 32, 1,
            ],
            // A row twice with one field each: they are two. Numbers twice: the last one holds.
            [0x12, 2, 16, 80, 0x12, 6, 10, 4, 1, 2, 3, 4, 24, 1, 24, 2],
            // Texts that are none, of the message, a row and a process; field 0; a number without an end.
            [34, 1, 0xff], [0x12, 3, 50, 1, 0xc0], [58, 3, 18, 1, 0x80], [0, 1], [24, 0x80, 0x80],
            [10, 1, 0x80],
            [24] + [UInt8](repeating: 0xff, count: 10) + [1],
        ]
        for bytes in rows { #expect(Self.read(bytes) == Self.generated(bytes), "\(bytes)") }
        #expect(
            rows.map { Self.read($0) != nil } == [true, true, true] + rows.dropFirst(3).map { _ in false })
        #expect(Self.read([0x0b, 0x0c]) == nil)
    }

    @Test("A field's tag may be padded to five bytes and to no more, as the generated code has it")
    func paddedTags() {
        for padding in 0...9 {
            let tag = padding == 0 ? [24] : [24 | 0x80] + [UInt8](repeating: 0x80, count: padding - 1) + [0]
            let bytes = tag + [7]
            #expect(Self.read(bytes) == Self.generated(bytes), "\(bytes)")
            #expect(Self.read(bytes)?.revision == (padding < 5 ? 7 : nil), "\(bytes)")
        }
        // Bits that no 32 bits hold.
        let wide: [UInt8] = [0x98, 0x80, 0x80, 0x80, 0x10, 7]
        #expect(Self.read(wide) == nil)
        #expect(Self.generated(wide) == nil)
    }

    static func variety() throws -> [ListenTable] {
        func socket(
            _ number: UInt16, _ address: String, _ process: ListeningProcess? = nil, interface: UInt32 = 0,
            onlyV6: Bool = false, at time: UInt64? = nil
        ) throws -> ListeningSocket {
            ListeningSocket(
                address: try #require(IPAddress(text: address)), port: try #require(PortNumber(number)),
                ipv6Only: onlyV6, interfaceIndex: interface, process: process, listenedAt: time)
        }
        let described = ListeningProcess(
            pid: .max, name: "ж",
            details: .init(command: String(repeating: "x", count: 300), container: "web"))
        let plain = ListeningProcess(pid: 1, name: "", details: .init(command: ""))
        let sources = [
            ListenSource(mode: .netlink, push: .tracepoint),
            ListenSource(mode: .procfs, push: .poll, degraded: "a reason"),
        ]
        let listeners = [
            [], [try socket(1, "0.0.0.0")],
            [
                try socket(80, "127.0.0.1", described, at: .max),
                try socket(80, "::", described, onlyV6: true),
                try socket(127, "::1", plain, interface: .max),
                try socket(128, "fe80::1", interface: 3, at: 1),
                try socket(
                    65_535, "255.255.255.255", ListeningProcess(pid: 812, name: "python3"), at: 1 << 40),
            ],
        ]
        return sources.flatMap { source in
            zip([0, 127, UInt64.max], listeners).map {
                ListenTable(revision: $0, source: source, listeners: $1)
            }
        }
    }

    @Test("Rows behind a group are not decoded uncounted, however the tags in the group are padded")
    func rowsBehindAGroup() throws {
        let rows = (0...AgentLimits.mostRows).flatMap { _ in [0x12, 0] as [UInt8] }
        // A field 100 that is a group, in it a number whose tag takes six bytes: the generated code takes this.
        let group: [UInt8] = [0xa3, 0x06, 0x98, 0x80, 0x80, 0x80, 0x80, 0x00, 1, 0xa4, 0x06]
        #expect(try Rum_V1_ListeningPortsResponse(serializedBytes: group + [0x12, 0]).listeners.count == 1)
        #expect(throws: TableFrame.Problem.self) {
            try (group + rows).withUnsafeBytes { try TableBounds.check($0) }
        }
    }

    @Test("A length above the limit is refused before its bytes come")
    func tooLong() {
        let limit = UInt32(AgentLimits.largestMessage)
        func start(_ length: UInt32) -> [UInt8] {
            [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) }
        }
        #expect(throws: TableFrame.Problem.tooLarge) { try Self.tables(start(limit + 1) + [0], pieces: 5) }
        #expect(throws: TableFrame.Problem.tooLarge) { try Self.tables(start(.max) + [0], pieces: 5) }
        #expect(throws: Never.self) { try Self.tables(start(limit) + [0], pieces: 5) }
    }

    @Test("More rows than there can be, and what is no message, are refused")
    func contents() {
        let rows = [UInt8](repeating: 0, count: 2 * (AgentLimits.mostRows + 1)).enumerated().map {
            $0.offset % 2 == 0 ? 0x12 : $0.element
        }
        let length = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: rows.count >> $0) }
        #expect(throws: TableFrame.Problem.tooLarge) { try Self.tables(length + rows, pieces: 1 << 16) }
        #expect(throws: TableFrame.Problem.unreadable) {
            try Self.tables([0, 0, 0, 2, 0xff, 0xff], pieces: 6)
        }
        #expect(throws: TableFrame.Problem.unreadable) {
            try Self.tables([0, 0, 0, 2, 0x12, 0x05], pieces: 6)
        }
    }
}
