import Testing

@testable import Router

/// The header block comes from whoever connects, before it is known whose the client is.
@Suite("The first header block of HTTP/2")
struct HeaderBlockTests {
    /// GET, http, / and an authority, from RFC 7541, C.3.1 and with Huffman coding C.4.1.
    static let plain: [UInt8] =
        [0x82, 0x86, 0x84, 0x41, 0x0f] + Array("www.example.com".utf8)
    static let coded: [UInt8] = [
        0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
    ]

    @Test("It names its authority, with and without Huffman coding", arguments: [plain, coded])
    func authority(block: [UInt8]) { #expect(HeaderBlock.authority(block[...]) == "www.example.com") }

    @Test("Whatever the bytes, there is an authority or none", arguments: 1...50 as ClosedRange<UInt64>)
    func anything(seed: UInt64) {
        var state = seed
        func random(_ bound: Int) -> Int {
            // xorshift64
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(bound))
        }
        for _ in 0..<400 {
            var block = [Self.plain, Self.coded, (0..<random(64)).map { _ in UInt8(random(256)) }][random(3)]
            for _ in 0..<random(6) where !block.isEmpty {
                switch random(4) {
                case 0: block[random(block.count)] = UInt8(random(256))
                case 1: block.insert(UInt8(random(256)), at: random(block.count))
                case 2: block.remove(at: random(block.count))
                // Integers that go on, and lengths beyond the end (RFC 7541, 5.1).
                default: block += [UInt8](repeating: 0xff, count: random(12))
                }
            }
            // In the middle of a larger buffer, as the relay has it.
            let whole = [1, 2, 3] + block + [4]
            _ = HeaderBlock.authority(whole[3..<(3 + block.count)])
        }
    }
}
