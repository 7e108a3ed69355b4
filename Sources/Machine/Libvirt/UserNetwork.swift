internal import AgentChannel
internal import Linux
internal import Ports

/// The way to the agent through QEMU's user network: two neighbouring ports of the host's loopback address,
/// forwarded to the agent's two ports in the guest.
///
/// The forwards live in the QEMU process and are asked for there, so nothing has to be remembered about them.
struct UserNetwork: Sendable {
    let hypervisor: Hypervisor
    let domain: String
    /// Whether a host port is meant for something else.
    let isReserved: @Sendable (UInt16) -> Bool
    /// libvirt names the first interface so.
    private static let netdev = "hostnet0"

    /// The first of the two host ports, forwarded now unless they already are.
    func forwardAgent() async throws(MachineError) -> UInt16 {
        if let port = Self.agentPort(in: try await hypervisor.monitor(domain, "info usernet")) { return port }
        var complaint = "no two neighbouring ports are free"
        for attempt in 0..<MachineLimits.portAttempts {
            // Reserved ports are better than none, should the configuration want all of them.
            guard let port = freePair(),
                attempt >= MachineLimits.portAttempts / 2 || !isReserved(port) && !isReserved(port + 1)
            else { continue }
            guard let refusal = try await add(port, to: .rpc) else {
                guard let refusal = try await add(port + 1, to: .forward) else { return port }
                complaint = refusal
                _ = try await hypervisor.monitor(
                    domain, "hostfwd_remove \(Self.netdev) tcp:127.0.0.1:\(port)")
                continue
            }
            complaint = refusal
        }
        throw MachineError(
            .libvirt, "cannot forward two ports to the agent: \(complaint)",
            hint: "Close some listening programs on 127.0.0.1, or use the vsock channel.")
    }

    /// Adds one forward; nil when that worked, else what QEMU said.
    private func add(_ host: UInt16, to guest: AgentPort) async throws(MachineError) -> String? {
        let rule = "tcp:127.0.0.1:\(host)-:\(guest.rawValue)"
        let said = try await hypervisor.monitor(domain, "hostfwd_add \(Self.netdev) \(rule)")
        let text = said.split(whereSeparator: \.isNewline).joined(separator: " ")
        return text.isEmpty ? nil : text
    }

    /// The first host port of a complete pair in the output of QEMU's `info usernet`, whose rows are: protocol and
    /// state, descriptor, source address and port, destination address and port, two queue lengths.
    static func agentPort(in output: String) -> UInt16? {
        var forwards: [UInt32: Set<UInt16>] = [:]
        for row in output.split(whereSeparator: \.isNewline) {
            let fields = row.split(separator: " ")
            guard fields.count >= 6, fields[0] == "TCP[HOST_FORWARD]", fields[2] == "127.0.0.1",
                let host = UInt16(fields[3]), let guest = UInt32(fields[5])
            else { continue }
            forwards[guest, default: []].insert(host)
        }
        let first = forwards[AgentPort.rpc.rawValue] ?? []
        let second = forwards[AgentPort.forward.rawValue] ?? []
        return first.filter { $0 < .max && second.contains($0 + 1) }.min()
    }

    /// A port of 127.0.0.1 that is free together with the next one, at this moment.
    private func freePair() -> UInt16? {
        let port = UInt16.random(in: MachineLimits.agentPorts)
        do {
            _ = try StreamSocket.listen(on: .tcp(.loopbackV4, port: port))
            _ = try StreamSocket.listen(on: .tcp(.loopbackV4, port: port + 1))
            return port
        } catch {
            return nil
        }
    }
}
