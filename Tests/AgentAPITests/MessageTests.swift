import AgentAPI
import FoundationEssentials
import Linux
import Ports
import Testing

@Suite("Messages")
struct MessageTests {
    @Test("A table survives the way through its message")
    func tableRoundTrip() throws {
        let port = try #require(PortNumber(5001))
        let table = ListenTable(
            revision: 7, source: ListenSource(mode: .netlink, push: .tracepoint, degraded: "dump failed"),
            listeners: [
                ListeningSocket(address: .anyV4, port: port),
                ListeningSocket(
                    address: try #require(IPAddress(text: "fe80::1")), port: port, ipv6Only: true,
                    interfaceIndex: 3, process: ListeningProcess(pid: 812, name: "python3"), listenedAt: 99),
                ListeningSocket(
                    address: .loopbackV4, port: port,
                    process: ListeningProcess(
                        pid: 813, name: "node", details: .init(command: "node x", container: "web"))),
                ListeningSocket(
                    address: .loopbackV6, port: port,
                    process: ListeningProcess(
                        pid: 813, name: "node", details: .init(command: "node x", container: "web"))),
            ])
        #expect(ListenTable(table.message) == table)
        #expect(table.message.ports == [5001])
        #expect(table.message.processes.map(\.pid) == [813])
    }

    @Test("Who an agent is survives the way through its message; an older one's forward version is 1")
    func infoRoundTrip() {
        let info = AgentInfo(
            version: "1.0", hostname: "guest", instanceID: "one", bootID: "boot",
            source: ListenSource(mode: .netlink, push: .tracepoint), pushReason: "no bpf events",
            monotonicTime: 9, startedAt: 7, forwardVersion: 2, execVersion: 1)
        #expect(AgentInfo(info.message) == info)
        #expect(AgentInfo(Rum_V1_PingResponse()).forwardVersion == 1)
        #expect(AgentInfo(Rum_V1_PingResponse()).startedAt == nil)
        #expect(AgentInfo(Rum_V1_PingResponse()).pushReason == nil)
    }

    @Test("Text of an agent is cut, whatever it has for a character")
    func longText() throws {
        for text in [String(repeating: "x", count: 5000), "e" + String(repeating: "\u{301}", count: 5000)] {
            var row = Rum_V1_Listener()
            (row.address, row.port, row.pid, row.process) = (
                Data(IPAddress.anyV4.networkBytes), 5001, 7, text
            )
            let socket = try #require(ListeningSocket(row))
            let source = ListenSource(mode: .netlink, push: .tracepoint)
            let table = ListenTable(revision: 1, source: source, listeners: [socket]).cuttingNames(to: 64)
            #expect(table.listeners.first?.process?.name.unicodeScalars.count == 64)
            var pong = Rum_V1_PingResponse()
            (pong.version, pong.degraded, pong.pushReason) = (text, text, text)
            let info = AgentInfo(pong)
            for kept in [info.version, info.source.degraded, info.pushReason] {
                #expect(kept?.unicodeScalars.count == 1000)
            }
            var listener = Rum_V1_PortListener()
            (listener.listener, listener.containerRuntime, listener.container) = (row, text, text)
            let container = try #require(PortExplanation.Listener(listener)?.container)
            #expect(container.runtime.unicodeScalars.count == 64)
            #expect(container.name.unicodeScalars.count == 1000)
        }
    }

    @Test("What is known about a port survives the way through its message")
    func explanationRoundTrip() throws {
        let socket = ListeningSocket(
            address: .anyV4, port: try #require(PortNumber(5001)),
            process: ListeningProcess(pid: 812, name: "python3"))
        let answer = PortExplanation(
            listeners: [
                .init(socket: socket, queue: .init(waiting: 129, limit: 128)),
                .init(
                    socket: socket, networkNamespace: 4_026_532_000,
                    container: .init(runtime: "docker", name: "0123456789ab")),
            ], incomplete: "too late")
        #expect(PortExplanation(answer.message) == answer)
        #expect(PortExplanation(Rum_V1_ExplainPortResponse()) == PortExplanation(listeners: []))
    }

    @Test("A listener with an impossible port or address is left out")
    func impossibleListeners() {
        var message = Rum_V1_ListeningPortsResponse()
        for (port, length) in [(0, 4), (70_000, 4), (5001, 5), (5001, 0), (5002, 16)] {
            var listener = Rum_V1_Listener()
            listener.port = UInt32(port)
            listener.address.append(contentsOf: [UInt8](repeating: 0, count: length))
            message.listeners.append(listener)
        }
        #expect(ListenTable(message).listeners.map(\.port.rawValue) == [5002])
    }

    @Test("A port that comes without its listener counts as one on all addresses")
    func portsAlone() {
        var message = Rum_V1_ListeningPortsResponse()
        message.ports = [0, 5001, 70_000]
        #expect(ListenTable(message).listeners.map(\.address) == [.anyV4])
        #expect(ListenTable(message).listeners.map(\.port.rawValue) == [5001])
    }

    @Test("Words that only a newer agent knows become the least capable ones")
    func unknownWords() {
        let source = ListenSource(mode: "bpf", push: "telepathy", degraded: "")
        #expect(source == ListenSource(mode: .procfs, push: .poll))
    }

    @Test(
        "A range is refused unless 1 <= min <= max <= 65535", arguments: [(0, 1), (2, 1), (1, 65536), (0, 0)])
    func badRanges(bounds: (UInt32, UInt32)) {
        var request = Rum_V1_ListeningPortsRequest()
        (request.min, request.max) = bounds
        #expect(PortRange(request) == nil)
    }

    @Test("Addresses travel in network order")
    func networkOrder() throws {
        #expect(IPAddress.loopbackV4.networkBytes == [127, 0, 0, 1])
        let address = try #require(IPAddress(text: "2001:db8::7"))
        #expect(address.networkBytes.prefix(4) == [0x20, 0x01, 0x0d, 0xb8])
        #expect(IPAddress(networkBytes: address.networkBytes) == address)
    }
}
