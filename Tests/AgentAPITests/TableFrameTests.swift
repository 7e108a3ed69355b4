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
