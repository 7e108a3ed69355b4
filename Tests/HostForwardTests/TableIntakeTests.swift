import PortForward
import Ports
import TestSupport
import Testing

@testable import HostForward

@Suite("The rate at which tables are taken", .timeLimit(.minutes(1)))
struct TableIntakeTests {
    @Test("Small tables do not wait, and what a large one costs outlives its connection")
    func debt() async {
        let intake = TableIntake()
        let start = ContinuousClock.now
        for _ in 0..<100 {
            intake.pay(for: table([5001, 5002]))
            #expect(await intake.wait())
        }
        intake.pay(for: table(1...65535))
        let connection = Task { await intake.wait() }
        connection.cancel()
        #expect(await !connection.value)
        #expect(await intake.wait())
        #expect(ContinuousClock.now - start > .milliseconds(500))
        #expect(await intake.wait())
    }
}
