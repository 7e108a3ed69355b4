import Glibc
import Linux
import LiveKernel
import Ports
import Testing

@testable import ListenWatch

@Suite("Programs for the kernel")
struct ListenProgramTests {
    @Test("Instructions are as the kernel's headers have them")
    func encoding() {
        var code = BPFAssembler()
        code.move(.r6, .r1)
        code.move(.r2, 8)
        code.move(.r3, unsigned: .max)
        code.add(.r1, -40)
        code.load(.word, .r0, from: .r6, 8)
        code.load(.double, .r7, from: .stack, -8)
        code.store(.double, .stack, -32, value: 1)
        code.endUnless(.r0, is: 0xf000_0001)
        code.loadMap(.r2, 5)
        code.call(.probeReadKernel)
        // From the right: code (2 digits), source, target, offset (4), value (8). The jump leads over three.
        #expect(
            code.finished() == [
                0x0000_0000_0000_16bf, 0x0000_0008_0000_02b7, 0xffff_ffff_0000_03b4, 0xffff_ffd8_0000_0107,
                0x0000_0000_0008_6061, 0x0000_0000_fff8_a779, 0x0000_0001_ffe0_0a7a, 0xf000_0001_0003_0056,
                0x0000_0005_0000_1218, 0, 0x0000_0071_0000_0085,
                0x0000_0000_0000_00b7, 0x0000_0000_0000_0095,
            ])
    }

    @Test("A record is a hint with the port in the network's order, and needs no question whose it is")
    func record() throws {
        let v4 = try #require(hint(bytes()))
        #expect(v4.kind == .opened)
        #expect(v4.address == .loopbackV4)
        #expect(v4.port == PortNumber(5001))
        #expect((v4.pid, v4.thread) == (42, 43))
        #expect(v4.isOurs)
        let v6 = try #require(hint(bytes(moment: 2, family: 10)))
        #expect(v6.kind == .closed)
        #expect(v6.address == .loopbackV6)
    }

    @Test("A short record, a strange moment and a strange family are no hints")
    func strange() {
        #expect(hint(Array(bytes()[..<31])) == nil)
        #expect(hint(bytes(moment: 3)) == nil)
        #expect(hint(bytes(family: 1)) == nil)
    }

    @Test("Of a socket that the kernel says is ours nobody asks whose thread listens on it")
    func ours() async throws {
        let namespace = try await NetworkNamespace().run { OwnNamespace(processRoot: "/proc") }
        var known = try #require(hint(bytes(), pid: getpid()))
        known.thread = nil
        #expect(!namespace.isForeign(known))
        known.isOurs = false
        #expect(namespace.isForeign(known))
    }

    private func hint(_ bytes: [UInt8], pid: Int32 = 42) -> ListenHint? {
        bytes.withUnsafeBytes {
            ListenProgram.hint(
                PerfRing.Sample(pid: pid, thread: 43, time: MonotonicTime(nanoseconds: 7), fields: $0))
        }
    }

    private func bytes(moment: UInt8 = 1, family: UInt8 = 2) -> [UInt8] {
        [moment, 0, family, 0, 0x13, 0x89, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0] + [UInt8](repeating: 0, count: 15)
            + [1]
    }
}
