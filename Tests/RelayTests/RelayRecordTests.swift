import Testing

@testable import Relay

@Suite("Records")
struct RelayRecordTests {
    /// Feeds bytes in pieces and returns the payload that the reader finds.
    static func payload(_ bytes: [UInt8], pieces: Int) throws -> (bytes: [UInt8], hasEnded: Bool) {
        var reader = RecordReader()
        var found: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: pieces) {
            var rest = bytes[start..<min(start + pieces, bytes.count)]
            while !rest.isEmpty {
                if reader.left == 0 {
                    rest = rest.dropFirst(try rest.withUnsafeBytes { try reader.takeHeader($0) })
                } else {
                    let taken = rest.prefix(reader.left)
                    found += taken
                    reader.consume(taken.count)
                    rest = rest.dropFirst(taken.count)
                }
            }
        }
        return (found, reader.hasEnded)
    }

    @Test("Records are read in pieces of any size, up to the last one", arguments: 1...12)
    func pieces(_ size: Int) throws {
        let bytes: [UInt8] = [0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 1, 4, 0, 0, 0, 0]
        let result = try Self.payload(bytes, pieces: size)
        #expect(result.bytes == [1, 2, 3, 4] && result.hasEnded)
        #expect(try !Self.payload(Array(bytes.dropLast()), pieces: size).hasEnded)
        #expect(try Self.payload(bytes + [RelayRecord.freeMark], pieces: size).hasEnded)
    }

    @Test("A record that is too long and bytes behind the last one are errors")
    func wrong() {
        #expect(throws: RecordReader.Problem.tooLong) { try Self.payload([1, 0, 0, 1], pieces: 4) }
        #expect(throws: RecordReader.Problem.behindTheEnd) { try Self.payload([0, 0, 0, 0, 0], pieces: 5) }
        #expect(throws: RecordReader.Problem.behindTheEnd) {
            try Self.payload([0, 0, 0, 0, 1, 1], pieces: 6)
        }
        #expect(throws: RecordReader.Problem.undelivered) { try Self.payload([0x80, 0, 0, 1], pieces: 3) }
    }

    @Test("A header that is owed is sent in as many pieces as the sink takes")
    func owed() {
        var writer = RecordWriter()
        writer.owe(headerOf: 0x0102_0304)
        var sent: [UInt8] = []
        while writer.headerLeft > 0 {
            _ = writer.payHeader { bytes in
                sent.append(bytes[0])
                return .moved(1)
            }
        }
        #expect(sent == [1, 2, 3, 4])
    }

    @Test("The last record says that the tunnel is free where it is", arguments: [false, true])
    func last(_ isFree: Bool) throws {
        var (writer, reader) = (RecordWriter(), RecordReader())
        writer.oweEnd(isFree: isFree)
        var sent: [UInt8] = []
        _ = writer.payHeader { bytes in
            sent += bytes
            return .moved(bytes.count)
        }
        #expect(sent == [0, 0, 0, 0] + (isFree ? [RelayRecord.freeMark] : []) && writer.headerLeft == 0)
        var rest = sent[...]
        while !rest.isEmpty { rest = rest.dropFirst(try rest.withUnsafeBytes { try reader.takeHeader($0) }) }
        #expect(reader.hasEnded && reader.isFree == isFree)
    }
}
