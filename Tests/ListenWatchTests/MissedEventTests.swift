import Foundation
import Glibc
import Linux
import LiveKernel
import Ports
import Synchronization
import TestSupport
import Testing

@testable import ListenWatch

/// What makes a watcher doubt its source of hints, and what must not.
@Suite("Doubt about events", .timeLimit(.minutes(1)))
struct MissedEventTests {
    @Test("More news of devices than there is room for is no reason to give events up")
    func manyDevices() async throws {
        let device = "/sys/devices/virtual/mem/null/uevent"
        guard access(device, W_OK) == 0 else {
            try Test.cancel("no device can be made to tell something here; run as root with /sys writable")
        }
        let watching = try await Watching()
        let gate = Gate()
        watching.watcher.onPublish { _ in gate.pass() }
        var sockets: [TestListener] = []
        for _ in 0..<3 {
            gate.shut()
            defer { gate.open() }
            sockets.append(try await watching.listener())
            try await eventually("the watcher is held up") { gate.isHolding }
            for _ in 0..<1000 { try "change".write(toFile: device, atomically: false, encoding: .utf8) }
            gate.open()
            #expect(await watching.shows(Set(sockets.map(\.key))))
            try await watching.settle()
        }
        #expect(!watching.log.contains { $0.contains("reports an error") }, "\(watching.log)")
        #expect(watching.watcher.source.push == Watching.best)
    }
}

/// Holds a thread up.
private final class Gate: Sendable {
    private let isShut = Atomic(false)
    private let holds = Atomic(false)

    var isHolding: Bool { holds.load(ordering: .acquiring) }

    func shut() { isShut.store(true, ordering: .releasing) }
    func open() { isShut.store(false, ordering: .releasing) }

    func pass() {
        while isShut.load(ordering: .acquiring) {
            holds.store(true, ordering: .releasing)
            usleep(1000)
        }
        holds.store(false, ordering: .releasing)
    }
}
