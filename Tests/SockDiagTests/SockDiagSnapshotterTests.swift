import Glibc
import Linux
import Ports
import SockDiag
import Synchronization
import Testing

/// Replays recorded steps instead of a kernel.
private final class RecordedTransport: NetlinkTransport {
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

@Suite("A snapshotter over a troubled netlink socket")
struct SockDiagSnapshotterTests {
    @Test("ENOBUFS is tried once more, on a fresh socket")
    func overrun() throws {
        let whole = try Capture("all-listeners").datagrams.map(RecordedTransport.Step.datagram)
        let snapshotter = try replaying([[.failure(ENOBUFS)], whole])
        #expect(try snapshotter.listeners().count == 4)
    }

    @Test("ENOBUFS twice is an overrun, not an empty table")
    func overrunTwice() throws {
        let snapshotter = try replaying([[.failure(ENOBUFS)], [.failure(ENOBUFS)]])
        #expect(throws: SockDiagError.overrun) { try snapshotter.listeners() }
    }

    @Test("An answer that stops half-way is a time-out, and the next question starts on a fresh socket")
    func silence() throws {
        let whole = try Capture("600-listeners").datagrams.map(RecordedTransport.Step.datagram)
        let snapshotter = try replaying([Array(whole.prefix(1)), whole])
        #expect(throws: SockDiagError.timedOut) { try snapshotter.listeners() }
        #expect(try snapshotter.listeners().count == 600)
    }

    @Test("What is left of an older answer is passed over")
    func leftover() throws {
        let whole = try Capture("all-listeners").datagrams
        var old = try Capture("600-listeners").datagrams[0]
        var offset = 0
        while offset + 16 <= old.count {
            let length = Int(old[offset]) | Int(old[offset + 1]) << 8
            old[offset + 8] = 99
            offset += (length + 3) & ~3
        }
        let snapshotter = try replaying([[.datagram(old)] + whole.map(RecordedTransport.Step.datagram)])
        #expect(try snapshotter.listeners().count == 4)
    }

    @Test("A kernel without tcp_diag says that sock_diag is unavailable")
    func noHandler() throws {
        // The recorded ERROR, with the errno of a missing handler.
        var error = try Capture("unknown-bytecode").datagrams[0]
        error.replaceSubrange(16..<20, with: withUnsafeBytes(of: -ENOENT) { Array($0) })
        let snapshotter = try replaying([[.datagram(error)]])
        #expect(throws: SockDiagError.unavailable(SystemError(code: ENOENT, operation: "NETLINK_SOCK_DIAG")))
        {
            try snapshotter.listeners()
        }
    }

    @Test("A refused socket is unavailable at once")
    func refused() {
        let error = SystemError(code: EPROTONOSUPPORT, operation: "netlink socket")
        #expect(throws: SockDiagError.unavailable(error)) {
            try SockDiagSnapshotter { .failure(error) }
        }
    }

    @Test("A look-up tells the owner from nobody")
    func owner() throws {
        let found = try Capture("owner-found").datagrams.map(RecordedTransport.Step.datagram)
        let absent = try Capture("owner-absent").datagrams.map(RecordedTransport.Step.datagram)
        let snapshotter = try replaying([found + absent])
        let port = try #require(PortNumber(5001))
        #expect(
            try snapshotter.owner(of: .loopbackV4, port: port, interfaceIndex: 1)?.socket.address == .anyV4)
        #expect(try snapshotter.owner(of: .loopbackV4, port: port, interfaceIndex: 1) == nil)
    }

    /// Each element is one socket's life.
    private func replaying(_ lives: [[RecordedTransport.Step]]) throws(SockDiagError) -> SockDiagSnapshotter {
        var lives = lives
        return try SockDiagSnapshotter {
            guard !lives.isEmpty else { return .failure(SystemError(code: EMFILE, operation: "socket")) }
            return .success(RecordedTransport(lives.removeFirst()))
        }
    }
}
