import Linux
import Ports
import Testing

@Suite("A table of listeners")
struct ListenTableTests {
    private let source = ListenSource(mode: .netlink, push: .tracepoint)

    @Test("Listeners are sorted by port, then address, then interface")
    func sorted() throws {
        let table = ListenTable(
            revision: 1, source: source,
            listeners: [
                try socket(81, .anyV4), try socket(80, .anyV6), try socket(80, .loopbackV4, interface: 2),
                try socket(80, .loopbackV4),
            ])
        #expect(table.listeners.map(\.key.interfaceIndex) == [0, 2, 0, 0])
        #expect(table.listeners.map(\.port.rawValue) == [80, 80, 80, 81])
        #expect(table.ports.map(\.rawValue) == [80, 81])
    }

    @Test("Of two entries with one key the one that knows its process stays")
    func merged() throws {
        var known = try socket(80, .anyV4)
        known.process = ListeningProcess(pid: 7, name: "nginx")
        for order in [[known, try socket(80, .anyV4)], [try socket(80, .anyV4), known]] {
            let table = ListenTable(revision: 1, source: source, listeners: order)
            #expect(table.listeners == [known])
        }
    }

    @Test("A restricted table has the range's ports and nothing else changed")
    func restricted() throws {
        let table = ListenTable(
            revision: 9, source: source, listeners: try [79, 80, 90, 91].map { try socket($0, .anyV4) })
        let part = table.restricted(to: try #require(PortRange(text: "80-90")))
        #expect(part.ports.map(\.rawValue) == [80, 90])
        #expect(part.revision == 9)
        #expect(part.source == source)
    }

    @Test("The revision is no content; the source is")
    func content() throws {
        let table = ListenTable(revision: 1, source: source, listeners: [try socket(80, .anyV4)])
        var other = table
        other.revision = 2
        #expect(table.sameContent(as: other))
        other.source.degraded = "sock_diag failed"
        #expect(!table.sameContent(as: other))
    }

    @Test("Port ranges read as written or not at all")
    func ranges() {
        #expect(PortRange(text: "5000-6000")?.description == "5000-6000")
        #expect(PortRange(text: "5000")?.description == "5000-5000")
        for text in ["", "-", "0-1", "6000-5000", "1-65536", "1-2-3", " 1-2", "+1-2", "a-b", "5000-"] {
            #expect(PortRange(text: text) == nil, "\(text)")
        }
    }

    private func socket(_ port: UInt16, _ address: IPAddress, interface: UInt32 = 0) throws -> ListeningSocket
    {
        ListeningSocket(address: address, port: try #require(PortNumber(port)), interfaceIndex: interface)
    }
}
