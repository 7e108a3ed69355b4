import Linux
import Ports
import Testing

@Suite("Bind addresses")
struct BindAddressTests {
    @Test(
        "An address or localhost is read, nothing else",
        arguments: [
            ("127.0.0.1", ["127.0.0.1"]), ("::1", ["::1"]), ("0:0:0:0:0:0:0:1", ["::1"]),
            ("localhost", ["127.0.0.1", "::1"]), ("0.0.0.0", ["0.0.0.0"]),
        ])
    func read(text: String, addresses: [String]) {
        #expect(BindAddress(text: text)?.addresses.map(\.description) == addresses)
    }

    @Test(
        "What is no address is refused",
        arguments: ["", "local", "machine", "127.0.0", "[::1]", "127.0.0.1:80"])
    func refuse(text: String) { #expect(BindAddress(text: text) == nil) }

    @Test(
        "One port on two addresses collides where bind(2) would refuse it",
        arguments: [
            ("127.0.0.1", "127.0.0.1", true), ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "0.0.0.0", true), ("127.0.0.1", "::", false), ("localhost", "::1", true),
            ("localhost", "::", true),
        ])
    func collide(one: String, other: String, collides: Bool) throws {
        let (one, other) = (try #require(BindAddress(text: one)), try #require(BindAddress(text: other)))
        #expect(one.collides(with: other) == collides)
        #expect(other.collides(with: one) == collides)
    }

    @Test("A port follows the address, an IPv6 one in brackets")
    func port() throws {
        let port = try #require(PortNumber(80))
        #expect(BindAddress.loopback.with(port) == "127.0.0.1:80")
        #expect(BindAddress(.loopbackV6).with(port) == "[::1]:80")
        #expect(BindAddress.localhost.with(port) == "localhost:80")
    }

    @Test("A machine's own address is filled in later, and collides with its like and the wildcard only")
    func machine() throws {
        let own = try #require(IPAddress(text: "127.64.3.7"))
        #expect(BindAddress.machine.resolved(to: own) == BindAddress(own))
        #expect(BindAddress.loopback.resolved(to: own) == .loopback)
        let others: [(BindAddress, Bool)] = [
            (.machine, true), (.loopback, false), (.localhost, false), (BindAddress(.anyV4), true),
            (BindAddress(.anyV6), false),
        ]
        for (other, collides) in others {
            #expect(BindAddress.machine.collides(with: other) == collides)
            #expect(other.collides(with: .machine) == collides)
        }
    }
}
