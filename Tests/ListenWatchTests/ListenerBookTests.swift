import Linux
import Ports
import TestSupport
import Testing

@testable import ListenWatch

@Suite("The listeners known so far")
struct ListenerBookTests {
    @Test("A hint of a port that does not listen costs the same however many do", .tags(.timed))
    func unknownPorts() {
        var book = ListenerBook()
        let rows = (1...20_000).map {
            ObservedListener(socket: ListeningSocket(address: .anyV4, port: port($0)), inode: 1)
        }
        _ = book.replace(rows, in: .all) { _ in nil }
        let hints = (40_000..<42_000).map {
            ListenHint(kind: .opened, address: .anyV4, port: port($0), time: .now)
        }
        let start = ContinuousClock.now
        #expect(!hints.contains(where: book.shows))
        #expect(ContinuousClock.now - start < .milliseconds(200))
        #expect(book.shows(ListenHint(kind: .opened, address: .anyV4, port: .ssh, time: .now)))
    }
}
