import Glibc
import Linux
import LiveKernel
import SockDiag
import Testing

@Suite("Addresses of the machine's interfaces")
struct InterfaceAddressesTests {
    @Test("An interface's addresses are those that were given to it")
    func live() async throws {
        let namespace = try await NetworkNamespace()
        try await namespace.shell("ip link add e0 type veth peer name e1")
        try await namespace.shell("ip addr add 10.1.2.3/24 dev e0 && ip addr add fd00::5/64 dev e0 nodad")
        try await namespace.run {
            let addresses = try InterfaceAddresses()
            let index = try KernelControl.interfaceIndex("e0")
            #expect(try addresses.addresses(ofInterface: index, v6: false) == [.v4(0x0a01_0203)])
            #expect(try addresses.addresses(ofInterface: index, v6: true).contains(.v6(0xfd00 << 48, 5)))
        }
    }

    @Test("Of a link that has an address at its other end too, the interface's own is the one at this end")
    func pointToPoint() async throws {
        let namespace = try await NetworkNamespace()
        try await namespace.shell("ip link add e0 type veth peer name e1")
        try await namespace.shell(
            "ip addr add 10.1.2.3 peer 10.1.2.4 dev e0 && ip addr add fd00::5 peer fd00::6 dev e0 nodad")
        try await namespace.run {
            let addresses = try InterfaceAddresses()
            let index = try KernelControl.interfaceIndex("e0")
            #expect(try addresses.addresses(ofInterface: index, v6: false) == [.v4(0x0a01_0203)])
            #expect(try addresses.addresses(ofInterface: index, v6: true) == [.v6(0xfd00 << 48, 5)])
        }
    }

    @Test("An ERROR is thrown with its errno, not taken for an interface without addresses")
    func error() throws {
        let addresses = try replaying([
            [.datagram(Self.message(type: 2, flags: 0, payload: Self.code(-EPERM)))]
        ])
        #expect(throws: SystemError(code: EPERM, operation: "NETLINK_ROUTE")) {
            try addresses.addresses(ofInterface: 1, v6: false)
        }
    }

    @Test("A dump that changed while it was read is read again, and given up when that never ends")
    func torn() throws {
        let torn = Self.message(type: 20, flags: 0x12, payload: Self.address(0x7f00_0002))
        let whole = Self.message(type: 20, flags: 2, payload: Self.address(0x7f00_0001))
        let done = Self.message(type: 3, flags: 2, payload: Self.code(0))
        let once = try replaying([[.datagram(torn), .datagram(done), .datagram(whole), .datagram(done)]])
        #expect(try once.addresses(ofInterface: 1, v6: false) == [.loopbackV4])
        let always = try replaying([
            Array(repeating: [.datagram(torn), .datagram(done)], count: 8).flatMap { $0 }
        ])
        #expect(throws: SystemError(code: EINTR, operation: "RTM_GETADDR")) {
            try always.addresses(ofInterface: 1, v6: false)
        }
    }

    @Test("A dump without its end is no answer")
    func unfinished() throws {
        let whole = Self.message(type: 20, flags: 2, payload: Self.address(0x7f00_0001))
        let addresses = try replaying([[.datagram(whole)]])
        #expect(throws: SystemError(code: EAGAIN, operation: "receive")) {
            try addresses.addresses(ofInterface: 1, v6: false)
        }
    }

    private func replaying(_ lives: [[RecordedTransport.Step]]) throws(SystemError) -> InterfaceAddresses {
        var lives = lives
        return try InterfaceAddresses {
            guard !lives.isEmpty else { return .failure(SystemError(code: EMFILE, operation: "socket")) }
            return .success(RecordedTransport(lives.removeFirst()))
        }
    }

    /// A netlink message of sequence 7, as in the captures.
    private static func message(type: UInt16, flags: UInt16, payload: [UInt8]) -> [UInt8] {
        bytes(of: UInt32(16 + payload.count)) + bytes(of: type) + bytes(of: flags) + bytes(of: UInt32(7))
            + bytes(of: UInt32(0)) + payload
    }

    /// struct ifaddrmsg of interface 1 and one IFA_LOCAL.
    private static func address(_ bits: UInt32) -> [UInt8] {
        [2, 8, 0, 0] + bytes(of: UInt32(1)) + bytes(of: UInt16(8)) + bytes(of: UInt16(2))
            + bytes(of: bits.bigEndian)
    }

    private static func code(_ value: Int32) -> [UInt8] { bytes(of: value) }

    private static func bytes(of number: some BitwiseCopyable) -> [UInt8] {
        withUnsafeBytes(of: number) { Array($0) }
    }
}
