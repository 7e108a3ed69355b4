import PortForward
import Ports
import Relay
import Synchronization
import TestSupport
import Testing

@testable import HostForward

@Suite("Ways to ports by name")
struct ForwardRoutesTests {
    private static func forward(_ host: UInt16, _ guest: UInt16, label: String? = nil) -> WantedForward {
        var rule = PortRule()
        rule.label = label
        let key = WantedForward.Key(
            kind: .auto, bind: .loopback, hostPort: port(host), guestPort: port(guest))
        return WantedForward(key: key, rule: rule)
    }

    @Test("A label means the first port that has it, and a number the guest's port before the host's")
    func found() {
        let made = Mutex<[UInt16]>([])
        let routes = ForwardRoutes(
            isMine: { _, _ in true },
            make: { key in
                made.withLock { $0.append(key.guestPort.rawValue) }
                return RelayTarget(role: RelayRole(entrance: RelayEntrance { _ in .reset }))
            })
        func guest(_ target: RelayTarget?) -> UInt16? {
            defer { made.withLock { $0 = [] } }
            return target == nil ? nil : made.withLock { $0.first }
        }
        routes.update([
            Self.forward(5001, 5001), Self.forward(5003, 5002, label: "web"),
            Self.forward(5002, 5003, label: "web"),
            Self.forward(8080, 80, label: "db"),
        ])
        #expect(guest(routes.target(labelled: "web")) == 5002)
        #expect(guest(routes.target(labelled: "db")) == 80)
        #expect(routes.target(labelled: "api") == nil)
        #expect(guest(routes.target(for: port(5003))) == 5003)
        #expect(guest(routes.target(for: port(5001))) == 5001)
        #expect(routes.target(for: port(9999)) == nil)
        // The first one goes, and the next has its name.
        routes.update([Self.forward(5002, 5005, label: "web")])
        #expect(guest(routes.target(labelled: "web")) == 5005)
    }
}
