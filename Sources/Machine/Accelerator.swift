internal import RumConfig

/// How a machine's instructions are executed, and why so.
struct Accelerator: Hashable, Sendable {
    /// The domain type in libvirt's terms.
    enum Kind: String, Hashable, Sendable {
        case kvm
        /// Software emulation, TCG.
        case qemu
    }

    let kind: Kind
    /// One sentence for the user.
    let reason: String
    /// Whether a failed start may be tried again with software emulation.
    let mayFallBack: Bool

    /// KVM if and only if libvirt offers it and the CPU has vmx or svm; `wanted` other than auto decides alone.
    static func choose(wanted: MachineConfig.DomainType, facts: HostFacts) -> Accelerator {
        switch wanted {
        case .kvm: return Accelerator(kind: .kvm, reason: "KVM, as domain_type asks", mayFallBack: false)
        case .qemu:
            return Accelerator(
                kind: .qemu, reason: "software emulation (slow), as domain_type asks", mayFallBack: false)
        case .auto: break
        }
        if let refusal = facts.kvmRefusal {
            return emulation(because: "libvirt offers no KVM here (\(refusal))")
        }
        guard let flag = facts.virtualizationFlag else {
            return emulation(because: "this CPU shows neither vmx nor svm, so KVM guests would not run")
        }
        return Accelerator(
            kind: .kvm, reason: "KVM, since libvirt offers it and the CPU has \(flag)", mayFallBack: true)
    }

    /// What follows a start that failed with KVM for `failure`.
    static func fallback(after failure: String) -> Accelerator {
        emulation(because: "starting with KVM failed (\(failure))")
    }

    private static func emulation(because cause: String) -> Accelerator {
        Accelerator(kind: .qemu, reason: "software emulation (slow), since \(cause)", mayFallBack: false)
    }
}
