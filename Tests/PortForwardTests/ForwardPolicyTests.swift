import Linux
import PortForward
import Ports
import TestSupport
import Testing

@Suite("Forward policy")
struct ForwardPolicyTests {
    static let range = PortRange(port(5000), port(6000))

    func wanted(_ policy: ForwardPolicy, _ table: ListenTable?) -> [String] {
        policy.wanted(in: table).map { "\($0.key.kind) \($0.key.hostText)>\($0.key.guestPort)" }
    }

    @Test("Without a table there are the static forwards alone")
    func staticOnly() {
        let policy = ForwardPolicy(
            staticPorts: [.init(host: port(8080), guest: port(80))],
            autoPorts: Self.range.map { .init(range: $0) })
        #expect(wanted(policy, nil) == ["static 127.0.0.1:8080>80"])
    }

    @Test("Automatic forwards are the range without ignored ports and without those of static forwards")
    func subtraction() {
        let policy = ForwardPolicy(
            staticPorts: [
                .init(host: port(8080), guest: port(5005)), .init(host: port(5006), guest: port(22)),
            ],
            autoPorts: Self.range.map { .init(range: $0, ignore: [port(5353)]) })
        #expect(
            wanted(policy, table([22, 4999, 5000, 5005, 5006, 5353, 6000, 6001])) == [
                "static 127.0.0.1:8080>5005", "static 127.0.0.1:5006>22", "auto 127.0.0.1:5000>5000",
                "auto 127.0.0.1:6000>6000",
            ])
    }

    @Test("A port that listens on both families has one forward, and the process that is known")
    func merged() {
        let table = ListenTable(
            revision: 1, source: ListenSource(mode: .netlink, push: .poll),
            listeners: [
                ListeningSocket(address: .anyV4, port: port(5001)),
                ListeningSocket(
                    address: .anyV6, port: port(5001), process: ListeningProcess(pid: 3, name: "node")),
            ])
        let policy = ForwardPolicy(autoPorts: Self.range.map { .init(range: $0, bind: .localhost) })
        let forwards = policy.wanted(in: table)
        #expect(forwards.map(\.key.hostText) == ["localhost:5001"])
        #expect(forwards.first?.listener?.process?.name == "node")
    }

    @Test("A static forward knows who listens once somebody does")
    func staticListener() {
        let policy = ForwardPolicy(staticPorts: [.init(host: port(8080), guest: port(80))])
        #expect(policy.wanted(in: table([80])).first?.listener?.process?.name == "python3")
        #expect(policy.wanted(in: table([81])).first?.listener == nil)
    }
}
