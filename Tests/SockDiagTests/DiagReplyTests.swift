import Glibc
import Linux
import Ports
import SockDiag
import Testing

@Suite("The kernel's answers")
struct DiagReplyTests {
    @Test("A dump names address, port, interface and IPV6_V6ONLY of every listener of both families")
    func all() throws {
        let (rows, progress) = try Capture("all-listeners").decoded()
        #expect(progress == .done)
        let found = rows.map(\.socket).sorted { $0.key < $1.key }
        #expect(found.map(\.port.rawValue) == [5001, 5002, 5003, 7000])
        #expect(found.map(\.address) == [.anyV4, .anyV6, .anyV6, .loopbackV4])
        #expect(found.map(\.ipv6Only) == [false, false, true, false])
        #expect(found.map { $0.interfaceIndex != 0 } == [false, false, false, true])
        #expect(Set(rows.map(\.inode)).count == 4)
    }

    @Test("Several messages in a datagram and several datagrams are one answer")
    func manyDatagrams() throws {
        let capture = try Capture("600-listeners")
        #expect(capture.datagrams.count > 2)
        let (rows, progress) = try capture.decoded()
        #expect(progress == .done)
        #expect(Set(rows.map(\.socket.port.rawValue)) == Set(20000..<20600))
    }

    @Test("Bytecode left only the ports asked for")
    func bytecode() throws {
        let rows = try Capture("ports-5002-5003").decoded().rows
        #expect(rows.map(\.socket.port.rawValue).sorted() == [5002, 5003])
    }

    @Test("A look-up is answered by one message without DONE, or by ENOENT")
    func owner() throws {
        let (rows, progress) = try Capture("owner-found").decoded()
        #expect(progress == .more)
        #expect(rows.map(\.socket.address) == [.anyV4])
        #expect(throws: SockDiagError.failed(SystemError(code: ENOENT, operation: "NETLINK_SOCK_DIAG"))) {
            try Capture("owner-absent").decoded()
        }
    }

    @Test("An ERROR message carries the errno")
    func error() {
        #expect(throws: SockDiagError.failed(SystemError(code: EINVAL, operation: "NETLINK_SOCK_DIAG"))) {
            try Capture("unknown-bytecode").decoded()
        }
    }

    @Test("A DONE with an errno is a failure, although listeners came before it")
    func doneWithError() throws {
        var capture = try Capture("all-listeners")
        let last = capture.datagrams.count - 1
        let end = capture.datagrams[last].count
        capture.datagrams[last].replaceSubrange(end - 4..<end, with: bytes(of: -ENOMEM))
        let broken = capture
        #expect(throws: SockDiagError.failed(SystemError(code: ENOMEM, operation: "NETLINK_SOCK_DIAG"))) {
            try broken.decoded()
        }
    }

    @Test("Messages with another sequence number are an older question's, and are passed over")
    func wrongSequence() throws {
        let (rows, progress) = try Capture("all-listeners").decoded(sequence: 8)
        #expect(rows.isEmpty)
        #expect(progress == .more)
    }

    @Test("An answer cut anywhere is an error or unfinished, never a smaller table")
    func cut() throws {
        let whole = try Capture("all-listeners")
        for datagram in whole.datagrams.indices {
            for length in 0..<whole.datagrams[datagram].count {
                var short = whole
                short.datagrams[datagram] = Array(whole.datagrams[datagram][..<length])
                short.datagrams.removeSubrange((datagram + 1)...)
                let progress = try? short.decoded().progress
                #expect(progress != .done, "cut at byte \(length) of datagram \(datagram)")
            }
        }
    }

    @Test("A message that claims more than the datagram has is cut")
    func overlong() throws {
        var capture = try Capture("all-listeners")
        capture.datagrams[0].replaceSubrange(0..<4, with: bytes(of: 100_000))
        let broken = capture
        #expect(throws: SockDiagError.cutMessage) { try broken.decoded() }
    }

    @Test("An attribute of a type unknown to us changes nothing")
    func unknownAttribute() throws {
        let whole = try Capture("all-listeners")
        var strange = whole
        // Every message's last attribute is SOCKOPT (22): make it one that no kernel has.
        for index in strange.datagrams.indices {
            let bytes = strange.datagrams[index]
            for offset in stride(from: 0, to: bytes.count - 4, by: 4)
            where Array(bytes[offset..<offset + 4]) == [6, 0, 22, 0] {
                strange.datagrams[index][offset + 2] = 0x7f
            }
        }
        #expect(strange.datagrams != whole.datagrams)
        #expect(try strange.decoded().rows == whole.decoded().rows)
    }

    @Test("An attribute that claims more than its message has is cut")
    func overlongAttribute() throws {
        var capture = try Capture("all-listeners")
        // The first attribute stands behind netlink header and inet_diag_msg.
        capture.datagrams[0].replaceSubrange(88..<90, with: [0xff, 0x0f])
        let broken = capture
        #expect(throws: SockDiagError.cutMessage) { try broken.decoded() }
    }

    @Test("An error number that has no negative is an error, and no crash")
    func extremeError() throws {
        var capture = try Capture("owner-absent")
        capture.datagrams[0].replaceSubrange(16..<20, with: bytes(of: Int32.min))
        let broken = capture
        let failure = #expect(throws: SockDiagError.self) { try broken.decoded() }
        #expect(failure.map { "\($0)".isEmpty } == false)
    }

    @Test("Any byte flipped gives rows or an error, and never reads outside the datagram")
    func flipped() throws {
        let whole = try Capture("all-listeners")
        for index in whole.datagrams[0].indices {
            for value: UInt8 in [0, 1, 0x7f, 0xff] {
                var strange = whole
                strange.datagrams[0][index] = value
                let rows = try? strange.decoded().rows
                #expect((rows?.count ?? 0) <= 4)
            }
        }
    }

    private func bytes(of number: Int32) -> [UInt8] {
        withUnsafeBytes(of: number) { Array($0) }
    }
}
