package import AgentChannel

/// A machine that runs, and how to reach its agent.
package struct RunningMachine: Hashable, Sendable {
    package let address: AgentAddress
    package let token: MachineToken
    /// Whether it ran already before `up`.
    package let wasRunning: Bool
    /// How it is executed: `kvm` or `qemu`, in libvirt's words.
    package let domainType: String
    /// How it is executed and why, in one sentence.
    package let accelerator: String
    /// How its agent is reached and why, in one sentence.
    package let channel: String
    /// Whether rum.toml says other things than a process goes by that forwards already: about forwards, or what to do where
    /// provisioning fails.
    package var hasNewForwards = false
}

/// What is known about a machine without asking its agent.
package struct MachineStatus: Hashable, Sendable {
    package let name: String
    package let state: MachineState
    package let libvirtURI: String
    /// The folder of its files; nil when it was never created.
    package let directory: String?
    /// nil unless it runs.
    package let running: RunningMachine?
}

/// How `down` ended.
package enum StopOutcome: Hashable, Sendable {
    case wasNotRunning
    /// The guest shut itself down.
    case orderly
    /// It did not in time, and was turned off.
    case forced
}
