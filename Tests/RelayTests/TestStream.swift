import Glibc
import Linux
import Relay

/// How a row moves bulk.
enum SpliceChoice: String, CaseIterable, Codable {
    case whereItPays, always, never
    /// No pipes and no buffers at all.
    case peekOnly

    var use: RelayOptions.SpliceUse {
        switch self {
        case .whereItPays: .whereItPays
        case .always: .always
        case .never, .peekOnly: .never
        }
    }
}

/// Bytes that depend on a seed and their place, so that a lost, repeated or swapped one shows.
struct TestStream {
    private var state: UInt64

    init(seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 }

    struct Mismatch: Error { var offset: Int }

    private mutating func chunk(_ count: Int) -> [UInt8] {
        (0..<count / 8).flatMap { _ -> [UInt8] in
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return withUnsafeBytes(of: state) { Array($0) }
        }
    }

    /// Sends `total` bytes and the end of file. Blocks.
    func send(_ total: Int, over peer: Peer) throws {
        var copy = self
        let block = copy.chunk(64 << 10)
        for index in 0..<total / block.count {
            var bytes = block
            withUnsafeBytes(of: index) { bytes.replaceSubrange(0..<8, with: $0) }
            try peer.write(bytes)
        }
        peer.shutdownWriting()
    }

    /// Reads to the end of file and compares; the number of bytes. Blocks.
    func check(from peer: Peer) throws -> Int {
        var copy = self
        let block = copy.chunk(64 << 10)
        var total = 0
        while true {
            let bytes = try peer.read(exactly: block.count)
            if bytes.isEmpty { return total }
            var expected = block
            withUnsafeBytes(of: total / block.count) { expected.replaceSubrange(0..<8, with: $0) }
            guard bytes == expected else { throw Mismatch(offset: total) }
            total += bytes.count
        }
    }
}
