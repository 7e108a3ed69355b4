import Glibc
import Linux
import Ports
import SockDiag
import Synchronization
import Testing

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

    @Test("An answer that stops half-way is none, and the next question starts on a fresh socket")
    func silence() throws {
        let whole = try Capture("600-listeners").datagrams.map(RecordedTransport.Step.datagram)
        let snapshotter = try replaying([Array(whole.prefix(1)), whole])
        #expect(throws: SockDiagError.unanswered) { try snapshotter.listeners() }
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
            try snapshotter.lookUp(.loopbackV4, port: port, interfaceIndex: 1).listener?.socket.address
                == .anyV4)
        #expect(try snapshotter.lookUp(.loopbackV4, port: port, interfaceIndex: 1).listener == nil)
    }

    @Test("A look-up that meets a socket that has ceased to listen, or an error, ends with nobody")
    func nobody() throws {
        let steps = try ["owner-closed", "owner-family-refused", "owner-absent", "owner-found"].map {
            RecordedTransport.Step.datagram(try Capture($0).datagrams[0])
        }
        // One socket's life: a look-up that asked again would find none.
        let snapshotter = try replaying([steps])
        let port = try #require(PortNumber(5001))
        func lookUp() throws -> PortOwner {
            try snapshotter.lookUp(.loopbackV4, port: port, interfaceIndex: 1)
        }
        #expect(try lookUp() == .nobody(because: nil))
        let refusal = SystemError(code: EINVAL, operation: "NETLINK_SOCK_DIAG")
        #expect(try lookUp() == .nobody(because: refusal))
        #expect(try lookUp() == .nobody(because: nil))
        #expect(try lookUp().listener?.socket.address == .anyV4)
    }

    @Test("A kernel without IPv6 refuses that family alone: the other's look-up is answered as ever")
    func oneFamily() throws {
        var refused = try Capture("owner-family-refused").datagrams[0]
        refused.replaceSubrange(20..<24, with: withUnsafeBytes(of: -EAFNOSUPPORT) { Array($0) })
        let found = try Capture("owner-found").datagrams[0]
        let snapshotter = try replaying([[.datagram(refused), .datagram(found)]])
        let port = try #require(PortNumber(5001))
        #expect(try snapshotter.lookUp(.loopbackV6, port: port, interfaceIndex: 1).listener == nil)
        #expect(try snapshotter.lookUp(.loopbackV4, port: port, interfaceIndex: 1).listener != nil)
    }

    @Test("A look-up that the kernel leaves out is no answer, and the next one asks on a fresh socket")
    func unansweredLookUp() throws {
        let found = try Capture("owner-found").datagrams[0]
        let snapshotter = try replaying([[], [.datagram(found)]])
        let port = try #require(PortNumber(5001))
        #expect(throws: SockDiagError.unanswered) {
            try snapshotter.lookUp(.loopbackV4, port: port, interfaceIndex: 1)
        }
        #expect(try snapshotter.lookUp(.loopbackV4, port: port, interfaceIndex: 1).listener != nil)
    }

    @Test("A shortage of descriptors or memory is a failure that passes")
    func shortage() throws {
        let error = SystemError(code: EMFILE, operation: "netlink socket")
        #expect(throws: SockDiagError.failed(error)) { try SockDiagSnapshotter { .failure(error) } }
        let memory = SystemError(code: ENOMEM, operation: "receive")
        let snapshotter = try replaying([[.failure(ENOMEM)]])
        #expect(throws: SockDiagError.failed(memory)) { try snapshotter.listeners() }
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
