import AgentChannel
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
                return RelayRole(entrance: RelayEntrance { _ in .reset })
            })
        func guest(_ target: RelayTarget?) -> UInt16? {
            defer { made.withLock { $0 = [] } }
            return target == nil ? nil : made.withLock { $0.first }
        }
        _ = routes.update([
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
        _ = routes.update([Self.forward(5002, 5005, label: "web")])
        #expect(guest(routes.target(labelled: "web")) == 5005)
    }

    /// Opens a forward whose rule holds clients, notes tables, and returns its ways by name before and after.
    private func ways(
        _ tables: (_ forward: WantedForward, _ binder: RelayBinder, _ bound: any BoundForward) -> Void
    ) async throws -> (RelayTarget, RelayTarget) {
        let engine = try RelayEngine()
        let binder = RelayBinder(
            engine: engine, agent: ForwardTarget(address: .unix(directory: "/nonexistent"), token: .none))
        let number = try FreePort.next()
        var forward = Self.forward(number.rawValue, number.rawValue)
        forward.key.settings.hold = .seconds(2)
        let bound = try binder.bind(forward.key)
        binder.note(wanted: [forward])
        let before = try #require(binder.routes.target(for: number))
        tables(forward, binder, bound)
        let after = try #require(binder.routes.target(for: number))
        bound.close()
        await engine.shutdown()
        return (before, after)
    }

    @Test("A forward whose listener comes back in time has its way still, with all who wait there")
    func held() async throws {
        let (before, after) = try await ways { forward, binder, _ in
            binder.note(wanted: [])
            binder.note(wanted: [forward])
        }
        #expect(after === before)
    }

    @Test("A forward that was closed has a new way when it is wanted again, however many ports are blocked")
    func closed() async throws {
        // Their host ports are another program's: they have no target.
        let blocked = [Self.forward(5001, 5001), Self.forward(5002, 5002)]
        let (before, after) = try await ways { forward, binder, bound in
            binder.note(wanted: blocked)
            bound.close()
            // It is back, and now its host port is another program's too.
            binder.note(wanted: blocked + [forward])
        }
        // Who comes by the old one is reset instead of held.
        #expect(after !== before)
    }
}
