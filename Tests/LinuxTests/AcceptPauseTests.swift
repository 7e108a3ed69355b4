import Glibc
import Linux
import TestSupport
import Testing

@Suite("Pauses of accept")
struct AcceptPauseTests {
    @Test(
        "Without descriptors the listener is let alone for a while, which is told once, and then all are taken"
    )
    func exhausted() async {
        await #expect(processExitsWith: .success) {
            try await onThread {
                let listener = try StreamSocket.listen(on: .tcp(.loopbackV4, port: 0))
                let address = try StreamSocket.localAddress(listener.rawValue)
                var clients: [Int32] = []
                for _ in 0..<3 { clients.append(try StreamSocket.connect(to: address).release()) }
                var told: [SystemError] = []
                var pause = AcceptPause { told.append($0) }
                func takes() -> Bool {
                    if pause.next(from: listener.rawValue) != nil { true } else { false }
                }
                try withoutDescriptors {
                    for turn in 1...3 {
                        let start = ContinuousClock.now
                        #expect(!takes())
                        while pause.rest != nil { usleep(500) }
                        #expect(.now >= start + AcceptPause.time && pause.count == turn)
                    }
                }
                #expect(told.map(\.code) == [EMFILE])
                for _ in clients { #expect(takes()) }
                #expect(!takes())
                #expect(pause.rest == nil)
                for client in clients { close(client) }
            }
        }
    }
}
