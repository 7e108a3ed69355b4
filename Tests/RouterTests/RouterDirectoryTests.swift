import Glibc
import Linux
import PortForward
import Ports
import TestSupport
import Testing

@testable import HostForward
@testable import Relay
@testable import Router

@Suite("Where the router leads to")
final class RouterDirectoryTests {
    private let directory = RouterDirectory(
        machine: "dev",
        routes: ForwardRoutes(
            isMine: { _, _ in true }, make: { _ in RelayRole(entrance: RelayEntrance { _ in .reset }) }))
    /// For its address.
    private let client: OwnedDescriptor

    init() throws { client = try StreamSocket.listen(on: .tcp(.loopbackV4, port: 0)) }

    private func decide(_ host: String) -> RelayDecision {
        Array("GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n".utf8).withUnsafeBytes { bytes in
            let arrival = RelayArrival(
                bytes: bytes, isAll: false, isGreeted: false, socket: client.rawValue)
            return directory.decide(arrival, isHandedOver: false)
        }
    }

    /// The answer's first line; nil where there is none.
    private func answer(_ host: String) -> String? {
        guard case .answer(let bytes) = decide(host) else { return nil }
        return String(decoding: bytes.prefix { $0 != 13 }, as: UTF8.self)
    }

    private func isReset(_ host: String) -> Bool {
        if case .reset = decide(host) { true } else { false }
    }

    @Test("That a machine is not forwarded is said by who knows all of them, and not at the end")
    func unknown() throws {
        directory.begin(joining: .seconds(60))
        // Others have still to join, which says nothing of this machine.
        #expect(isReset("5001.shop.localhost"))
        #expect(answer("5001.dev.localhost") == "HTTP/1.1 404 Not Found")
        #expect(answer("dev.localhost") == "HTTP/1.1 200 OK")
        var ends: [Int32] = [0, 0]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        defer { close(ends[1]) }
        #expect(directory.add(RouterMember(machine: "shop", socket: OwnedDescriptor(owning: ends[0]))))
        guard case .handedOver = decide("5001.shop.localhost") else {
            throw NeverHappened(what: "a client handed over")
        }
        directory.begin(joining: .zero)
        #expect(answer("5001.third.localhost") == "HTTP/1.1 404 Not Found")
        directory.end()
        #expect(isReset("5001.shop.localhost") && isReset("5001.third.localhost"))
        #expect(answer("dev.localhost") == "HTTP/1.1 200 OK")
    }
}
