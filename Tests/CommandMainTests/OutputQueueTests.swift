import Glibc
import Linux
import Synchronization
import TestSupport
import Testing

@testable import CommandMain

/// The queue on real pipes.
@Suite("Output queue", .timeLimit(.minutes(1)))
struct OutputQueueTests {
    let output: TestPipe
    let errors: TestPipe
    let queue: OutputQueue

    init() throws {
        (output, errors) = (try TestPipe(), try TestPipe())
        queue = OutputQueue(descriptors: [output.writing, errors.writing], capacity: 1000)
    }

    func post(_ text: String, to lane: OutputQueue.Lane = .output) {
        #expect(queue.post(Array((text + "\n").utf8), to: lane))
    }

    @Test("Lines are written as they were posted")
    func order() async throws {
        for number in 0..<20 { post("line \(number)") }
        await queue.flush(within: .seconds(10))
        #expect(output.take() == (0..<20).map { "line \($0)" })
    }

    @Test("Lines of both lanes on one pipe keep their order")
    func bothLanes() async throws {
        let queue = OutputQueue(descriptors: [output.writing, output.writing], capacity: 100_000)
        for number in 0..<500 {
            _ = queue.post(Array("\(number)\n".utf8), to: number % 3 == 0 ? .errors : .output)
        }
        await queue.flush(within: .seconds(10))
        #expect(output.take() == (0..<500).map { "\($0)" })
    }

    @Test("A lane that nobody reads does not hold up the other, nor whoever posts")
    func unread() async throws {
        output.fill()
        for number in 0..<100 { post("lost \(number)") }
        post("still said", to: .errors)
        try await eventually { errors.take() == ["still said"] }
    }

    @Test("What does not fit is dropped and counted, and the count stands where the lines are missing")
    func dropped() async throws {
        output.fill()
        // 10 bytes each.
        for number in 0..<150 { post("line \(1000 + number)") }
        _ = output.take()
        var lines: [String] = []
        try await eventually("101 lines, now \(lines.count)") {
            lines += output.take()
            return lines.count == 101
        }
        #expect(lines.prefix(100) == (1000..<1100).map { "line \($0)" }[...])
        #expect(lines.last == "(50 lines were dropped here, since nobody read them in time)")
        post("and on")
        try await eventually { output.take() == ["and on"] }
    }

    @Test("Whoever handles gaps ends them, and until then everything counts as dropped")
    func handledGap() async throws {
        let asked = Mutex(0)
        queue.onGap(of: .output) {
            "missing \($0)"
        } handler: {
            asked.withLock { $0 += 1 }
        }
        output.fill()
        for _ in 0..<120 { post("123456789") }
        _ = output.take()
        try await eventually { asked.withLock { $0 } == 1 }
        post("lost too")
        #expect(output.take().allSatisfy { $0 == "123456789" })
        queue.endGap(of: .output)
        post("after")
        // Each may be written by itself.
        var lines: [String] = []
        try await eventually("two lines, now \(lines)") {
            lines += output.take()
            return lines == ["missing 21", "after"]
        }
        let times = asked.withLock { $0 }
        #expect(times == 1)
    }

    @Test("Data waits for its reader and is never dropped")
    func data() async throws {
        let bytes = [UInt8](repeating: UInt8(ascii: "a"), count: 300_000)
        let queue = queue
        let isWritten = Flag()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                #expect(await queue.write(bytes, to: .output))
                isWritten.set()
            }
            try await eventually("a full pipe") { output.isFull }
            #expect(!isWritten.isSet)
            var count = 0
            try await eventually("all bytes, now \(count)") {
                count += output.takeBytes().count
                return count == bytes.count
            }
            try await group.waitForAll()
        }
    }

    @Test("A task that is cancelled does not wait for a reader")
    func cancelled() async throws {
        output.fill()
        let queue = queue
        await withTaskGroup(of: Bool.self) { group in
            group.addTask { await queue.write([1], to: .output) }
            group.cancelAll()
            #expect(await group.next() == true)
        }
    }

    @Test("The last words wait for a reader, but not for ever")
    func flush() async throws {
        output.fill()
        post("lost")
        post("last words", to: .errors)
        let start = ContinuousClock.now
        await queue.flush(within: .milliseconds(100))
        #expect(start.duration(to: .now) > .milliseconds(99))
        try await eventually { errors.take() == ["last words"] }
    }

    @Test("Who writes for a reader that has gone is told")
    func broken() async throws {
        output.closeReading()
        _ = queue.post([1], to: .output)
        #expect(await queue.write([1], to: .output) == false)
        #expect(!queue.post([1], to: .output))
        post("the other lane goes on", to: .errors)
        try await eventually { errors.take() == ["the other lane goes on"] }
    }

    @Test("That the reader has gone is told though nothing is written, once, and of that lane alone")
    func unreadLane() async throws {
        let queue = queue
        let isGone = Flag()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                await queue.untilBroken(.output)
                isGone.set()
            }
            post("said")
            try await eventually { output.take() == ["said"] }
            #expect(!isGone.isSet)
            output.closeReading()
            try await group.waitForAll()
        }
        #expect(queue.failure(of: .output)?.code == EPIPE)
        #expect(queue.failure(of: .errors) == nil)
        post("the other lane goes on", to: .errors)
        try await eventually { errors.take() == ["the other lane goes on"] }
        await queue.untilBroken(.output)
    }

    @Test("Without a descriptor for the queue nobody waits for what can't be said, and the reason is known")
    func outOfDescriptors() async {
        await #expect(processExitsWith: .success) {
            let queue = try withoutDescriptors { OutputQueue() }
            #expect(await !queue.write([10], to: .output))
            await queue.untilBroken(.errors)
            #expect(queue.failure(of: .output) == SystemError(code: EMFILE, operation: "eventfd"))
        }
    }

    @Test("The reader of a socket goes as that of a pipe does")
    func unreadSocket() async throws {
        var ends: [Int32] = [0, 0]
        _ = try SystemError.check("socketpair", socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends))
        // The other one stays open, as TestPipe's do.
        let queue = OutputQueue(descriptors: [ends[0], errors.writing])
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await queue.untilBroken(.output) }
            close(ends[1])
            try await group.waitForAll()
        }
        #expect(queue.failure(of: .output)?.code == EPIPE)
    }

    @Test("Who waits for the reader to go can be cancelled, and a file has no reader")
    func neverUnread() async throws {
        // It stays open, as TestPipe's ends do.
        let queue = OutputQueue(descriptors: [open("/dev/null", O_WRONLY), errors.writing])
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await queue.untilBroken(.output) }
            post("said", to: .errors)
            group.cancelAll()
        }
        #expect(queue.failure(of: .output) == nil)
    }
}

/// Set once.
final class Flag: Sendable {
    private let value = Mutex(false)

    var isSet: Bool { value.withLock { $0 } }
    func set() { value.withLock { $0 = true } }
}

/// A pipe whose reading end does not block.
final class TestPipe: Sendable {
    let writing: Int32
    private let reading: Int32

    /// Its ends stay open with the process, as those of standard output do: the queue's thread may look at them.
    init() throws {
        var ends: [Int32] = [0, 0]
        _ = try SystemError.check("pipe", pipe(&ends))
        (reading, writing) = (ends[0], ends[1])
        _ = fcntl(reading, F_SETFL, O_NONBLOCK)
        _ = signal(SIGPIPE, SIG_IGN)
    }

    /// Writes a line as long as all of its space.
    func fill() {
        let line = [UInt8](repeating: UInt8(ascii: "x"), count: size - 1) + [UInt8(ascii: "\n")]
        #expect(write(writing, line, line.count) == size)
    }

    var isFull: Bool {
        var entry = pollfd(fd: writing, events: Int16(POLLOUT), revents: 0)
        return poll(&entry, 1, 0) == 0
    }

    func closeReading() { close(reading) }

    func takeBytes() -> [UInt8] {
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while case let count = read(reading, &buffer, buffer.count), count > 0 { all += buffer[..<count] }
        return all
    }

    /// The lines that wait; the one that `fill` wrote is left out.
    func take() -> [String] {
        takeBytes().split(separator: UInt8(ascii: "\n")).map { String(decoding: $0, as: UTF8.self) }
            .filter { !$0.hasPrefix("xxx") }
    }

    /// Its capacity (F_GETPIPE_SZ, which Glibc's module leaves out).
    private var size: Int { Int(fcntl(writing, 1032)) }
}
