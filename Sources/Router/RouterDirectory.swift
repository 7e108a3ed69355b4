internal import HostForward
internal import Linux
internal import Names
internal import PortForward
internal import Ports
internal import Relay
internal import Synchronization

/// Knows where names lead, and decides by a client's first bytes what becomes of it. Asked on event loops: it never waits.
final class RouterDirectory: Sendable {
    private struct State {
        /// By the machine's part of a host's name.
        var members: [String: RouterMember] = [:]
        var ports: [UInt16] = []
        /// Before this time, in nanoseconds of CLOCK_MONOTONIC, machines may be forwarded that are not known here.
        var knowsAllAt: UInt64 = 0
    }

    /// Where a client wants to go.
    private enum Place {
        case everything
        /// Of this process's machine.
        case own(service: String?)
        case member(RouterMember)
        case unknown
    }

    private let machine: String
    private let routes: ForwardRoutes
    private let state = Mutex(State())

    init(machine: String, routes: ForwardRoutes) {
        self.machine = machine
        self.routes = routes
    }

    // MARK: Who there is

    /// The ports that the router has, in this process or another; none while there is no router.
    var ports: [UInt16] {
        get { state.withLock { $0.ports } }
        set { state.withLock { $0.ports = newValue } }
    }

    var members: [RouterMember] { state.withLock { Array($0.members.values) } }

    /// Lets clients go to another process; false when the name is taken.
    func add(_ member: RouterMember) -> Bool {
        let name = ServiceName.machine(member.machine)
        guard name != ServiceName.machine(machine) else { return false }
        return state.withLock { state in
            guard state.members[name] == nil else { return false }
            state.members[name] = member
            return true
        }
    }

    func remove(_ member: RouterMember) {
        let name = ServiceName.machine(member.machine)
        state.withLock { state in
            if state.members[name] === member { state.members[name] = nil }
        }
    }

    /// From now on clients are led to others, who join within `time`.
    func begin(joining time: Duration) {
        state.withLock { $0.knowsAllAt = SystemClock.monotonic &+ time.wholeNanoseconds }
    }

    /// Leads nobody to others from now on: they join another process.
    func end() { state.withLock { $0 = State(knowsAllAt: .max) } }

    private var knowsAll: Bool { state.withLock { SystemClock.monotonic >= $0.knowsAllAt } }

    // MARK: Where they go

    /// - Parameters:
    ///   - isHandedOver: the process with the router's ports has given the client to this one, for this machine.
    ///   - isGreeted: that process has said `HTTP2.emptySettings` to it.
    func decide(_ arrival: RelayArrival, isHandedOver: Bool, isGreeted: Bool = false) -> RelayDecision {
        let isGreeted = isGreeted || arrival.isGreeted
        let bytes = Array(arrival.bytes)
        switch ClientOpening(bytes, hasSettings: isGreeted, authority: HeaderBlock.authority) {
        case .incomplete: return .wait
        case .wantsSettings: return .greet(HTTP2.emptySettings)
        case .foreign: return .reset
        case .request(let request):
            guard let host = request.host else { return answer(.noHost, request, arrival) }
            guard let name = LocalName(host: host) else { return answer(.notLocal, request, arrival) }
            return lead(request, bytes, to: name, arrival, isHandedOver: isHandedOver, isGreeted: isGreeted)
        }
    }

    private func lead(
        _ request: ClientRequest, _ bytes: [UInt8], to name: LocalName, _ arrival: RelayArrival,
        isHandedOver: Bool, isGreeted: Bool
    ) -> RelayDecision {
        switch place(of: name.labels) {
        case .everything: return answer(.machines(machines, router: port), request, arrival)
        case .own(nil): return answer(.machine(machine, services, router: port), request, arrival)
        case .own(.some(let service)):
            guard let target = target(of: service) else {
                let page = RouterPage.noService(service, of: machine, services, router: port)
                return answer(page, request, arrival)
            }
            guard let cut = request.acknowledgement else { return .relay(target) }
            return .relay(target, replacing: cut.upperBound, with: Array(bytes[..<cut.lowerBound]))
        case .member(let member):
            // One that was handed over and is for a third is nobody's: it would go round in circles.
            if !isHandedOver, member.handOver(arrival.socket, isGreeted: isGreeted) { return .handedOver }
            return answer(.busy, request, arrival)
        // It is there, for all this process knows, so a page must not say that it is not.
        case .unknown where !knowsAll: return .reset
        case .unknown: return answer(.noMachine(name.labels, machines, router: port), request, arrival)
        }
    }

    /// Pages tell what there is, so they are for this user alone.
    private func answer(
        _ page: @autoclosure () -> RouterPage, _ request: ClientRequest, _ arrival: RelayArrival
    ) -> RelayDecision {
        guard let server = try? StreamSocket.localAddress(arrival.socket),
            routes.isMine(arrival.socket, server)
        else { return .reset }
        return .answer(page().bytes(for: request.form))
    }

    /// A machine's name may have dots in it, so a whole name goes before one with a service.
    private func place(of labels: String) -> Place {
        if labels.isEmpty { return .everything }
        if labels == ServiceName.machine(machine) { return .own(service: nil) }
        let rest = labels.firstIndex(of: ".").map { labels[labels.index(after: $0)...] }
        let member = state.withLock { state in
            state.members[labels] ?? rest.flatMap { state.members[String($0)] }
        }
        if let member { return .member(member) }
        guard let rest, rest == ServiceName.machine(machine) else { return .unknown }
        return .own(service: String(labels.prefix { $0 != "." }))
    }

    private func target(of service: String) -> RelayTarget? {
        if let port = PortNumber(text: service) { return routes.target(for: port) }
        return routes.target(labelled: service)
    }

    // MARK: What pages show

    private var port: UInt16 { ports.first ?? 80 }

    private var machines: [String] {
        ([machine] + state.withLock { $0.members.values.map(\.machine) }).sorted()
    }

    /// What is reached by name. A label leads to the first port that has it, and the others go by their numbers.
    var services: [RouterPage.Service] {
        var labels: Set<String> = []
        return routes.wanted.map { forward, host in
            var name = "\(forward.key.guestPort)"
            if let label = forward.rule?.label, labels.insert(label).inserted { name = label }
            return RouterPage.Service(
                name: name, port: forward.key.guestPort.rawValue, process: forward.listener?.process?.name,
                host: host.map { forward.key.bind.with($0) } ?? "",
                scheme: forward.rule?.scheme.rawValue ?? "http")
        }
    }
}
