import Foundation
import Linux
import Ports
import Testing

@testable import ListenWatch

@Suite("Records of the tracepoint")
struct TraceFormatTests {
    /// `format` of sock:inet_sock_set_state on Linux 6.18.
    static func fixture() throws -> String {
        let file = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../fixtures/tracefs/inet_sock_set_state.format").standardizedFileURL
        return try String(contentsOf: file, encoding: .utf8)
    }

    @Test("Offsets come from the format file")
    func offsets() throws {
        let format = TraceFormat(text: try Self.fixture())
        #expect(format["newstate"] == TraceFormat.Field(offset: 20, size: 4))
        #expect(format["saddr_v6"] == TraceFormat.Field(offset: 40, size: 16))
        #expect(format["common_pid"] == TraceFormat.Field(offset: 4, size: 4))
        #expect(format["print"] == nil)
    }

    @Test("A kernel that moves the fields is read where it moved them")
    func moved() throws {
        let text = try Self.fixture().replacingOccurrences(of: "offset:24;", with: "offset:80;")
        let format = try #require(SocketStateFormat(TraceFormat(text: text)))
        let hint = try #require(read(record(portAt: 80), format))
        #expect(hint.port?.rawValue == 5001)
    }

    @Test("A format without a field, or with one of another size, is refused")
    func refused() throws {
        let whole = try Self.fixture()
        for (old, new) in [("sport", "zport"), ("offset:24;\tsize:2", "offset:24;\tsize:4")] {
            #expect(
                SocketStateFormat(TraceFormat(text: whole.replacingOccurrences(of: old, with: new))) == nil)
        }
        #expect(SocketStateFormat(TraceFormat(text: "")) == nil)
        // Places that no record has.
        for offset in ["-8", "9223372036854775807", "70000"] {
            let text = whole.replacingOccurrences(of: "offset:24;", with: "offset:\(offset);")
            #expect(SocketStateFormat(TraceFormat(text: text)) == nil)
        }
    }

    @Test("A record names address, port, direction, caller and time")
    func record() throws {
        let format = try #require(SocketStateFormat(TraceFormat(text: try Self.fixture())))
        let v4 = try #require(read(record(), format))
        #expect(v4.kind == .opened)
        #expect(v4.address == .loopbackV4)
        #expect(v4.pid == 42)
        #expect(v4.time.nanoseconds == 7)
        #expect(read(record(family: 10), format)?.address == .loopbackV6)
        #expect(read(record(state: 7), format)?.kind == .closed)
    }

    @Test("Port 0 is no port, and a process of another pid namespace is none")
    func absent() throws {
        let format = try #require(SocketStateFormat(TraceFormat(text: try Self.fixture())))
        let hint = try #require(read(record(port: 0), format, pid: 0))
        #expect(hint.port == nil)
        #expect(hint.pid == nil)
    }

    @Test("A short record and a strange family are no hints")
    func strange() throws {
        let format = try #require(SocketStateFormat(TraceFormat(text: try Self.fixture())))
        #expect(read(Array(record()[..<40]), format) == nil)
        #expect(read(record(family: 1), format) == nil)
    }

    private func read(_ bytes: [UInt8], _ format: SocketStateFormat, pid: Int32 = 42) -> ListenHint? {
        bytes.withUnsafeBytes {
            format.hint(
                PerfRing.Sample(
                    pid: pid, thread: pid, time: MonotonicTime(nanoseconds: 7), fields: $0))
        }
    }

    private func record(
        port: UInt16 = 5001, portAt: Int = 24, family: UInt8 = 2, state: UInt8 = 10
    ) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 96)
        bytes[20] = state
        bytes[portAt] = UInt8(port & 0xff)
        bytes[portAt + 1] = UInt8(port >> 8)
        bytes[28] = family
        bytes.replaceSubrange(32..<36, with: [127, 0, 0, 1])
        bytes[55] = 1
        return bytes
    }
}

@Suite("Small parsers and schedules of the watcher")
struct WatchPartsTests {
    @Test("The list of CPUs is read as the kernel writes it")
    func cpus() {
        #expect(OnlineCPUs.parse("0-3,5\n") == [0, 1, 2, 3, 5])
        #expect(OnlineCPUs.parse("0\n") == [0])
        #expect(OnlineCPUs.parse("") == [])
    }

    @Test("Without /sys the CPUs online come from /proc/stat, and are the same")
    func cpusWithoutSys() {
        let stat = "cpu  9 0 1 2\ncpu0 4 0 1 2\ncpu12 5 0 0 0\nintr 1 2\nctxt 5\n"
        #expect(OnlineCPUs.parseStat(stat) == [0, 12])
        #expect(OnlineCPUs.list(sys: "/nowhere", stat: "/proc/stat") == OnlineCPUs.list())
        #expect(OnlineCPUs.list(sys: "/nowhere", stat: "/nowhere") == [])
    }

    @Test("The poll backs off while nothing changes and starts over when something does")
    func backOff() {
        var poll = PollSchedule(shortest: .milliseconds(50), longest: .milliseconds(400))
        let quiet = (0..<5).map { _ in poll.interval(changed: false, cost: .zero) }
        #expect(quiet == [50, 100, 200, 400, 400].map { .milliseconds($0) })
        #expect(poll.interval(changed: true, cost: .zero) == .milliseconds(50))
        #expect(poll.interval(changed: false, cost: .zero) == .milliseconds(100))
    }

    @Test("A look that takes long comes less often: never more than a twentieth of the time")
    func costly() {
        var poll = PollSchedule.netlink
        #expect(poll.interval(changed: true, cost: .milliseconds(500)) == .seconds(10))
        var procfs = PollSchedule.procfs
        #expect(procfs.interval(changed: true, cost: .milliseconds(7)) == .milliseconds(1050))
    }
}
