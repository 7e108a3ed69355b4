import Machine
import PortForward
import Ports
import RumConfig

extension VirtualMachine {
    /// The forwards that a configuration of the machine asks for, with the machine's own address where it names that.
    func forwardPolicy(of config: MachineConfig) async throws(MachineError) -> ForwardPolicy {
        var policy = ForwardPolicy(staticPorts: config.ports, autoPorts: config.autoPorts)
        guard config.needsOwnAddress else { return policy }
        let own = try await reserveOwnAddress()
        for index in policy.staticPorts.indices {
            policy.staticPorts[index].bind = policy.staticPorts[index].bind.resolved(to: own)
        }
        if let bind = policy.autoPorts?.bind { policy.autoPorts?.bind = bind.resolved(to: own) }
        return policy
    }
}
