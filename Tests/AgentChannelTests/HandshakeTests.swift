import AgentChannel
import Linux
import Ports
import Relay
import Synchronization
import TestSupport
import Testing

/// Both ends' handshakes as values: outcomes in, steps out.
@Suite("Handshakes")
struct HandshakeTests {
    static let token = MachineToken.random()
    static let place = SocketAddress.unix(path: "/run/a/2223.sock")
    static let hybrid = SocketAddress.unix(path: "/run/v.sock")
    static let targets: [SocketAddress] = [
        .tcp(.loopbackV4, port: 5001), .tcp(.loopbackV6, port: 5001),
    ]
    static let refused = HandshakeEvent.failed(SystemError(code: 111, operation: "connect"))

    static func preamble(_ version: ForwardVersion, _ token: MachineToken = token) -> ForwardPreamble {
        ForwardPreamble(token: token, port: port(5001), version: version)
    }

    static func host(_ agent: AgentAddress, _ version: ForwardVersion = .raw) -> HostHandshake {
        HostHandshake(opening: AgentOpening(to: .forward, of: agent), preamble: preamble(version))
    }

    static func guest(_ targets: [SocketAddress] = targets) -> GuestHandshake {
        GuestHandshake(token: token) { $0 == port(5001) ? targets : [] }
    }

    @Test("The host dials, shows its preamble, and relays on status 0", arguments: ForwardVersion.allCases)
    func host(_ version: ForwardVersion) {
        let form = version == .raw ? TunnelForm.raw : .records
        var host = Self.host(.unix(directory: "/run/a"), version)
        #expect(host.next(.accepted) == .dial(Self.place))
        #expect(host.next(.connected) == .send(Self.preamble(version).bytes))
        #expect(host.next(.sent) == .receive(1, meanwhile: form))
        #expect(host.next(.received([0])) == .relay(form))
    }

    @Test("A tunnel that has carried a connection is asked at once, also on a hybrid socket")
    func reused() {
        for agent in [AgentAddress.unix(directory: "/run/a"), .hybrid(path: "/run/v.sock")] {
            var host = Self.host(agent, .kept)
            #expect(host.keepsTunnel)
            _ = host.next(.accepted)
            #expect(host.next(.reused) == .send(Self.preamble(.kept).bytes))
            #expect(host.next(.sent) == .receive(1, meanwhile: .records))
        }
    }

    @Test(
        "A tunnel is kept where the host asks for it, as one of version 4 does",
        arguments: ForwardVersion.allCases)
    func kept(_ version: ForwardVersion) {
        let preamble = Self.preamble(version)
        var guest = Self.guest()
        _ = guest.next(.accepted)
        _ = guest.next(.received(Array(preamble.bytes[..<34])))
        _ = guest.next(.received(Array(preamble.bytes[34...])))
        #expect(guest.next(.connected) == .relay(version == .raw ? .raw : .records, saying: [0]))
        #expect(guest.keepsTunnel == (version == .kept) && preamble.keepsTunnel == (version == .kept))
        #expect(version != .kept || preamble.bytes[32...] == [0, 0, 2, 2, 0x13, 0x89])
    }

    @Test(
        "A host that waits lets no client bytes go ahead, and asks again after a refusal; a greeting goes first"
    )
    func waiting() {
        var preamble = Self.preamble(.records)
        preamble.waitsForAnswer = true
        #expect(preamble.bytes[32...] == [0, 0, 2, 1, 0x13, 0x89])
        for (status, end) in [(UInt8(0), HandshakeStep.relay(.records)), (1, .away), (2, .fail), (3, .fail)] {
            var host = HostHandshake(
                opening: AgentOpening(to: .forward, of: .unix(directory: "/run/a")), preamble: preamble,
                greeting: [1, 2])
            _ = host.next(.accepted)
            #expect(host.next(.connected) == .send(preamble.bytes + [0, 0, 0, 2, 1, 2]))
            #expect(host.next(.sent) == .receive(1))
            #expect(host.next(.received([status])) == end)
        }
        var raw = HostHandshake(
            opening: AgentOpening(to: .forward, of: .unix(directory: "/run/a")),
            preamble: Self.preamble(.raw), greeting: [1, 2])
        _ = raw.next(.accepted)
        #expect(raw.next(.connected) == .send(Self.preamble(.raw).bytes + [1, 2]))
    }

    @Test(
        "Any other status, and an agent that can't be reached, end the client's connection",
        arguments: [1, 2, 3, 255])
    func refused(_ status: UInt8) {
        var host = Self.host(.unix(directory: "/run/a"))
        _ = [HandshakeEvent.accepted, .connected, .sent].map { host.next($0) }
        #expect(host.next(.received([status])) == .fail)
        var other = Self.host(.unix(directory: "/run/a"))
        #expect(other.next(.accepted) == .dial(Self.place))
        #expect(other.next(Self.refused) == .fail)
    }

    @Test("On a hybrid socket CONNECT comes before the preamble, and the answer may come in pieces")
    func connect() {
        var host = Self.host(.hybrid(path: "/run/v.sock"))
        #expect(host.next(.accepted) == .dial(Self.hybrid))
        #expect(host.next(.connected) == .send(Array("CONNECT 2223\n".utf8)))
        #expect(host.next(.sent) == .receive(1))
        for byte in "OK 12".utf8 { #expect(host.next(.received([byte])) == .receive(1)) }
        #expect(host.next(.received([UInt8(ascii: "\n")])) == .send(Self.preamble(.raw).bytes))
    }

    @Test("RPC is opened by the same steps, and a refusal says what was answered")
    func rpc() {
        var opening = AgentOpening(to: .rpc, of: .hybrid(path: "/run/v.sock"))
        #expect(opening.next(.accepted) == .dial(Self.hybrid))
        #expect(opening.next(.connected) == .send(Array("CONNECT 2222\n".utf8)))
        #expect(opening.next(.sent) == .receive(1))
        for byte in "NO".utf8 { #expect(opening.next(.received([byte])) == .receive(1)) }
        #expect(opening.next(.received([10])) == .fail)
        #expect(opening.failure == .greetingRefused("NO"))
        var plain = AgentOpening(to: .rpc, of: .unix(directory: "/run/a"))
        #expect(plain.next(.accepted) == .dial(.unix(path: "/run/a/2222.sock")))
        #expect(plain.next(.connected) == .relay(.raw))
    }

    @Test(
        "The guest reads a preamble in any pieces, tries its targets in turn, and says 0",
        arguments: [1, 7, 34, 38])
    func guest(_ piece: Int) {
        for version in ForwardVersion.allCases {
            var guest = Self.guest()
            var rest = Self.preamble(version).bytes[...]
            var step = guest.next(.accepted)
            while case .receive(let count, nil) = step {
                let bytes = Array(rest.prefix(min(count, piece)))
                rest = rest.dropFirst(bytes.count)
                step = guest.next(.received(bytes))
            }
            // What comes behind the preamble is the client's.
            #expect(rest.isEmpty)
            #expect(step == .dial(Self.targets[0]))
            #expect(guest.next(Self.refused) == .dial(Self.targets[1]))
            #expect(guest.next(.connected) == .relay(version == .raw ? .raw : .records, saying: [0]))
        }
    }

    @Test("The guest answers a host that waits at once")
    func waitedFor() {
        var preamble = Self.preamble(.records)
        preamble.waitsForAnswer = true
        var guest = Self.guest()
        _ = guest.next(.accepted)
        #expect(guest.next(.received(Array(preamble.bytes[..<34]))) == .receive(4))
        #expect(guest.next(.received(Array(preamble.bytes[34...]))) == .dial(Self.targets[0]))
        #expect(guest.next(.connected) == .relay(.records, saying: [0], atOnce: true))
    }

    /// What an agent that sends tables hands its connections to.
    private final class Tables: TableSender {
        let hasRoom: Bool
        let ranges = Mutex<[PortRange]>([])

        init(hasRoom: Bool = true) { self.hasRoom = hasRoom }

        func add(_ reader: consuming OwnedDescriptor, range: PortRange) {
            ranges.withLock { $0.append(range) }
        }
    }

    /// The guest's last step on a preamble that comes in pieces of this size, and how many bytes it has left.
    private static func step(
        of guest: inout GuestHandshake, _ preamble: [UInt8], piece: Int = 40
    ) -> (HandshakeStep, left: Int) {
        var rest = preamble[...]
        var step = guest.next(.accepted)
        while case .receive(let count, nil) = step, !rest.isEmpty {
            let bytes = Array(rest.prefix(min(count, piece)))
            rest = rest.dropFirst(bytes.count)
            step = guest.next(.received(bytes))
        }
        return (step, rest.count)
    }

    @Test(
        "The guest hands a connection that asks for tables over, with its range", arguments: [1, 7, 33, 40])
    func tables(_ piece: Int) throws {
        let range = try #require(PortRange(port(0x1234), port(0x5678)))
        let tables = Tables()
        var guest = GuestHandshake(token: Self.token, tables: tables) { _ in [] }
        let bytes = TablePreamble(token: Self.token, range: range).bytes
        #expect(bytes == Self.token.bytes + [0, 0, 3, 0, 0x12, 0x34, 0x56, 0x78])
        let (step, left) = Self.step(of: &guest, bytes, piece: piece)
        #expect(step == .handOver && left == 0)
        guest.take(OwnedDescriptor(owning: -1))
        #expect(tables.ranges.withLock { $0 } == [range])
    }

    @Test("It refuses tables to a wrong token (3), and where it has none, no room, or no such range (2)")
    func noTables() throws {
        func answer(_ preamble: [UInt8], _ tables: Tables?) -> HandshakeStep {
            var guest = GuestHandshake(token: Self.token, tables: tables) { _ in Self.targets }
            return Self.step(of: &guest, preamble).0
        }
        let bytes = TablePreamble(token: Self.token, range: .all).bytes
        #expect(answer(bytes, Tables()) == .handOver)
        #expect(answer(TablePreamble(token: .random(), range: .all).bytes, Tables()) == .refuse([3]))
        #expect(answer(bytes, nil) == .refuse([2]))
        #expect(answer(bytes, Tables(hasRoom: false)) == .refuse([2]))
        for bounds in [[0, 0, 0, 9], [0, 9, 0, 0], [0, 9, 0, 8]] as [[UInt8]] {
            #expect(answer(Self.token.bytes + [0, 0, 3, 0] + bounds, Tables()) == .refuse([2]))
        }
    }

    @Test("The host asks for tables once the way is open, and any status but 0 is a refusal")
    func asksForTables() {
        let question = TablePreamble(token: Self.token, range: .all).bytes
        for agent in [AgentAddress.unix(directory: "/run/a"), .hybrid(path: "/run/v.sock")] {
            for status in [0, 1, 2, 3, 255] as [UInt8] {
                var opening = AgentOpening(to: .forward, of: agent, asking: question)
                _ = opening.next(.accepted)
                var step = opening.next(.connected)
                if case .hybrid = agent {
                    #expect(step == .send(Array("CONNECT 2223\n".utf8)))
                    for byte in "OK 12\n".utf8 { step = opening.next(.received([byte])) }
                }
                #expect(step == .send(question))
                #expect(opening.next(.sent) == .receive(1))
                #expect(opening.next(.received([status])) == (status == 0 ? .relay(.raw) : .fail))
                #expect((opening.failure == nil) == (status == 0))
            }
        }
    }

    @Test("The guest says why not: 1 nobody accepts, 2 not allowed or not understood, 3 a wrong token")
    func statuses() {
        func answer(_ bytes: [UInt8], _ events: [HandshakeEvent] = []) -> HandshakeStep {
            var guest = Self.guest([Self.targets[0]])
            _ = guest.next(.accepted)
            var step = guest.next(.received(Array(bytes.prefix(34))))
            if bytes.count > 34 { step = guest.next(.received(Array(bytes.dropFirst(34)))) }
            for event in events { step = guest.next(event) }
            return step
        }
        #expect(answer(Self.preamble(.raw).bytes, [Self.refused]) == .refuse([1]))
        var other = Self.preamble(.raw)
        other.port = port(5002)
        #expect(answer(other.bytes) == .refuse([2]))
        var unknown = Self.preamble(.records).bytes
        unknown[34] = 9
        #expect(answer(unknown) == .refuse([2]))
        #expect(answer(Self.token.bytes + [0, 0, 2, 0, 0, 0]) == .refuse([2]))
        #expect(answer(Self.preamble(.raw, .random()).bytes) == .refuse([3]))
    }
}
