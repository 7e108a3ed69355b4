import Names
import Testing

@Suite("The beginning of an HTTP/2 connection without TLS")
struct HTTP2OpeningTests {
    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    static let settings = frame(4, 0, 0, [0, 3, 0, 0, 0, 100])
    static let acknowledgement = frame(4, 1, 0, [])
    private static let windowUpdate = frame(8, 0, 0, [0, 1, 0, 0])

    static func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt8, _ payload: [UInt8]) -> [UInt8] {
        [0, UInt8(payload.count >> 8), UInt8(payload.count & 255), type, flags, 0, 0, 0, stream] + payload
    }

    /// The block is the name itself, as the suite's reader of blocks has it.
    static func headers(_ name: String) -> [UInt8] { frame(1, 4, 1, Array(name.utf8)) }

    private func opening(_ bytes: [UInt8], hasSettings: Bool = false) -> ClientOpening {
        ClientOpeningTests.opening(bytes, hasSettings: hasSettings)
    }

    private func request(
        _ host: String, stream: UInt32 = 1, acknowledgement: Range<Int>? = nil
    ) -> ClientOpening {
        .request(
            ClientRequest(form: .http2(stream: stream), host: host, acknowledgement: acknowledgement))
    }

    @Test("The first header block gives the host")
    func host() {
        let bytes = Self.preface + Self.settings + Self.windowUpdate + Self.headers("5001.dev.localhost")
        #expect(opening(bytes) == request("5001.dev.localhost"))
        #expect(opening(bytes + Self.headers("other")) == request("5001.dev.localhost"))
    }

    @Test("Padding and priority are no part of the block, and it may come in pieces")
    func forms() {
        let start = Self.preface + Self.settings
        let padded = Self.frame(1, 0x2c, 3, [2, 0, 0, 0, 0, 16] + Array("abc".utf8) + [0, 0])
        #expect(opening(start + padded) == request("abc", stream: 3))
        let pieces =
            Self.frame(1, 0, 1, Array("ab".utf8)) + Self.frame(9, 0, 1, Array("c".utf8))
            + Self.frame(9, 4, 1, Array("d".utf8))
        #expect(opening(start + pieces) == request("abcd"))
    }

    @Test(
        "A client that stops behind its settings waits for the server's; within a frame it goes on by itself")
    func waits() {
        let bytes = Self.preface + Self.settings + Self.windowUpdate
        #expect(opening(bytes) == .wantsSettings)
        #expect(opening(Self.preface + Self.settings) == .wantsSettings)
        #expect(opening(Array(bytes.dropLast())) == .incomplete)
        #expect(opening(Self.preface) == .incomplete)
        #expect(opening(bytes, hasSettings: true) == .incomplete)
        let begun = Self.preface + Self.settings + Self.frame(1, 0, 1, [1])
        #expect(opening(begun) == .incomplete)
    }

    @Test("Once settings were said, the place of their acknowledgement is awaited and told")
    func acknowledged() {
        let start = Self.preface + Self.settings
        let before = start + Self.acknowledgement + Self.headers("a")
        let place = start.count..<(start.count + 9)
        #expect(opening(before, hasSettings: true) == request("a", acknowledgement: place))
        let late = start + Self.headers("a")
        #expect(opening(late, hasSettings: true) == .incomplete)
        let end = late.count..<(late.count + 9)
        #expect(
            opening(late + Self.acknowledgement, hasSettings: true) == request("a", acknowledgement: end))
    }

    @Test("Every cut is incomplete")
    func cuts() {
        let bytes = Self.preface + Self.settings + Self.headers("a")
        for count in 1..<bytes.count {
            let cut = opening(Array(bytes[..<count]))
            #expect(cut == .incomplete || cut == .wantsSettings, "\(count) bytes")
        }
    }

    @Test("Frames that can't stand there are foreign")
    func foreign() {
        let start = Self.preface + Self.settings
        // No settings at first; data before a request; a block that another frame breaks off, or that nothing begins.
        #expect(opening(Self.preface + Self.headers("a")) == .foreign)
        #expect(opening(start + Self.frame(0, 0, 1, [1])) == .foreign)
        #expect(opening(start + Self.frame(1, 0, 1, [1]) + Self.windowUpdate) == .foreign)
        #expect(opening(start + Self.frame(9, 4, 1, [1])) == .foreign)
        // Padding longer than the frame, and a priority that is cut off.
        #expect(opening(start + Self.frame(1, 0xc, 1, [9, 1])) == .foreign)
        #expect(opening(start + Self.frame(1, 0x24, 1, [9, 1])) == .foreign)
    }
}
