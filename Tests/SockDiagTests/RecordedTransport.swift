import Glibc
import Linux
import SockDiag

/// Replays recorded steps instead of a kernel.
final class RecordedTransport: NetlinkTransport {
    enum Step {
        case datagram([UInt8])
        case failure(Int32)
    }

    private var steps: [Step]
    private(set) var sent: [[UInt8]] = []

    init(_ steps: [Step]) { self.steps = steps }

    func send(_ message: [UInt8]) throws(SystemError) { sent.append(message) }

    func receive(into buffer: UnsafeMutableRawBufferPointer) throws(SystemError) -> Int {
        guard !steps.isEmpty else { throw SystemError(code: EAGAIN, operation: "receive") }
        switch steps.removeFirst() {
        case .failure(let code): throw SystemError(code: code, operation: "receive")
        case .datagram(var bytes):
            // The recordings were asked with sequence 7; answer what was really asked, message by message.
            let asked = Array(sent.last?[8..<12] ?? [])
            var offset = 0
            while offset + 16 <= bytes.count {
                let length = Int(bytes[offset]) | Int(bytes[offset + 1]) << 8
                if Array(bytes[offset + 8..<offset + 12]) == [7, 0, 0, 0] {
                    bytes.replaceSubrange(offset + 8..<offset + 12, with: asked)
                }
                offset += (length + 3) & ~3
            }
            buffer.copyBytes(from: bytes)
            return bytes.count
        }
    }
}
