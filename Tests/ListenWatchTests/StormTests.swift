import Glibc
import Linux
import LiveKernel
import Ports
import SockDiag
import TestSupport
import Testing

@testable import ListenWatch

@Suite("Storms", .timeLimit(.minutes(2)), .serialized)
struct StormTests {
    init() { DescriptorLimit.raise() }

    @Test("A ring that nobody reads overflows: it says nearly full first, and LOST with the next event")
    func lost() async throws {
        let namespace = try await NetworkNamespace()
        try await namespace.run {
            let source = try TracepointSource(tracefs: .standard, onlineCPUs: OnlineCPUs.list)
            try KernelControl.pin(cpu: 0)
            for _ in 0..<1000 { _ = try TestListener(.loopbackV4) }
            var overflowed = HintBatch()
            source.drain(into: &overflowed)
            #expect(overflowed.nearlyFull)
            #expect(overflowed.hints.count < 2000)
            _ = try TestListener(.loopbackV4)
            var next = HintBatch()
            source.drain(into: &next)
            // The record of the loss is written in front of the first event that finds room.
            #expect(overflowed.lost || next.lost)
        }
    }

    @Test("After a storm of 20 000 listens and closes with random survivors the table is exact")
    func storm() async throws {
        let watching = try await Watching()
        var survivors: [TestListener] = []
        for seed in 0..<4 as Range<UInt64> {
            survivors += try await watching.namespace.run {
                var random = SeededGenerator(seed: seed)
                var kept: [TestListener] = []
                for _ in 0..<5000 {
                    let socket = try TestListener(.loopbackV4)
                    if random.next() % 250 == 0 { kept.append(socket) }
                }
                return kept
            }
        }
        let keys = Set(survivors.map(\.key))
        #expect(await watching.shows(keys))
        let kernel = try await watching.namespace.run { try SockDiagSnapshotter().listeners() }
        #expect(Set(kernel.map(\.socket.key)) == keys)
        survivors = []
        #expect(await watching.shows([]))
    }

    @Test("Of 400 steady listeners none is missing from any table while 20 000 others come and go")
    func steady() async throws {
        let watching = try await Watching()
        let steady = try await watching.namespace.run {
            try (UInt16(10000)..<10400).map { try TestListener(.loopbackV4, port: $0) }
        }
        let keys = Set(steady.map(\.key))
        #expect(await watching.shows(keys))
        let reader = Task { [watcher = watching.watcher] in
            var (tables, missing) = (0, 0)
            for await table in watcher.tables() {
                tables += 1
                missing += keys.subtracting(table.listeners.map(\.key)).count
            }
            return (tables, missing)
        }
        try await watching.namespace.run {
            for _ in 0..<20 {
                // A thousand at a time, so that dumps take several datagrams while rows leave.
                let passing = try (UInt16(20000)..<21000).map { try TestListener(.loopbackV4, port: $0) }
                #expect(passing.count == 1000)
            }
        }
        #expect(await watching.shows(keys))
        watching.watcher.stop()
        let (tables, missing) = await reader.value
        #expect(tables > 1)
        #expect(missing == 0)
    }

    @Test("2 000 listeners opened at once are all seen, and gone at once")
    func many() async throws {
        let watching = try await Watching()
        var sockets = try await watching.namespace.run {
            try (UInt16(10000)..<12000).map { try TestListener(.loopbackV4, port: $0) }
        }
        #expect(await watching.shows(Set(sockets.map(\.key))))
        sockets = []
        #expect(await watching.shows([]))
    }
}
