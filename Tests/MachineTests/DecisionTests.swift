import Glibc
import RumConfig
import Testing

@testable import Machine

@Suite("What is chosen, and why")
struct DecisionTests {
    private static let plenty = HostFacts(
        kvmRefusal: nil, virtualizationFlag: "vmx", vhostVsockError: nil, isSystemDaemon: false)

    private static func facts(_ change: (inout HostFacts) -> Void) -> HostFacts {
        var facts = plenty
        change(&facts)
        return facts
    }

    @Test("KVM needs both libvirt's offer and the CPU's flag")
    func accelerator() {
        let both = Accelerator.choose(wanted: .auto, facts: Self.plenty)
        #expect(both.kind == .kvm)
        #expect(both.mayFallBack)
        #expect(both.reason == "KVM, since libvirt offers it and the CPU has vmx")

        let noFlag = Accelerator.choose(wanted: .auto, facts: Self.facts { $0.virtualizationFlag = nil })
        #expect(noFlag.kind == .qemu)
        #expect(
            noFlag.reason
                == "software emulation (slow), since this CPU shows neither vmx nor svm, so KVM guests would not run"
        )

        let noOffer = Accelerator.choose(wanted: .auto, facts: Self.facts { $0.kvmRefusal = "no /dev/kvm" })
        #expect(noOffer.kind == .qemu)
        #expect(
            noOffer.reason == "software emulation (slow), since libvirt offers no KVM here (no /dev/kvm)")
    }

    @Test("An explicit domain type decides alone and never falls back")
    func explicitAccelerator() {
        let none = Self.facts {
            $0.virtualizationFlag = nil
            $0.kvmRefusal = "no"
        }
        #expect(Accelerator.choose(wanted: .kvm, facts: none).kind == .kvm)
        #expect(Accelerator.choose(wanted: .qemu, facts: Self.plenty).kind == .qemu)
        #expect(!Accelerator.choose(wanted: .kvm, facts: none).mayFallBack)
        #expect(Accelerator.fallback(after: "x").kind == .qemu)
        #expect(!Accelerator.fallback(after: "x").mayFallBack)
    }

    @Test("vsock needs a device that opens, or that the system daemon may open")
    func channel() {
        #expect(ChannelChoice.choose(wanted: .auto, facts: Self.plenty).kind == .vsock)
        let missing = ChannelChoice.choose(wanted: .auto, facts: Self.facts { $0.vhostVsockError = ENOENT })
        #expect(missing.kind == .tcp)
        #expect(
            missing.reason
                == "tcp through the user network, since the host has no /dev/vhost-vsock (module vhost_vsock)"
        )
        let denied = Self.facts { $0.vhostVsockError = EACCES }
        #expect(ChannelChoice.choose(wanted: .auto, facts: denied).kind == .tcp)
        let system = Self.facts {
            $0.vhostVsockError = EACCES
            $0.isSystemDaemon = true
        }
        #expect(ChannelChoice.choose(wanted: .auto, facts: system).kind == .vsock)
        let odd = ChannelChoice.choose(wanted: .auto, facts: Self.facts { $0.vhostVsockError = ENODEV })
        #expect(odd.reason.contains("No such device"))
    }

    @Test("An explicit channel decides alone and never falls back")
    func explicitChannel() {
        let missing = Self.facts { $0.vhostVsockError = ENOENT }
        let choice = ChannelChoice.choose(wanted: .vsock, facts: missing)
        #expect(choice.kind == .vsock)
        #expect(!choice.mayFallBack)
        #expect(ChannelChoice.choose(wanted: .tcp, facts: Self.plenty).kind == .tcp)
    }

    @Test(
        "Only errors about KVM fall back to emulation, and only those about vsock to tcp",
        arguments: [
            ("unsupported configuration: unable to open vhost-vsock device", true, false),
            ("unsupported configuration: vsock device is not supported with this QEMU binary", true, false),
            ("invalid argument: could not find capabilities for arch=x86_64 domaintype=kvm", false, true),
            (
                "internal error: process exited while connecting to monitor: Could not access KVM kernel module: "
                    + "Permission denied; qemu-system-x86_64: failed to initialize kvm: Permission denied",
                false, true
            ),
            (
                "internal error: qemu unexpectedly closed the monitor: qemu-system-x86_64: ../target/i386/kvm/kvm.c:2810: "
                    + "kvm_buf_set_msrs: Assertion `ret == cpu->kvm_msr_buf->nmsrs' failed.", false, true
            ),
            ("qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory", false, false),
            ("Failed to get \"write\" lock", false, false),
            ("Cannot access storage file '/home/kvm/vsock/disk.qcow2': Permission denied", false, false),
            ("internal error: child reported (status=125): unable to set security context", false, false),
            ("apparmor=\"DENIED\" profile=\"libvirt-1\"", false, false),
        ])
    func fallbacks(message: String, noVsock: Bool, noKVM: Bool) {
        let error = LibvirtError(code: 1, systemCode: 0, message: message, operation: "start the machine")
        #expect(error.meansNoVsock == noVsock)
        #expect(error.meansNoKVM == noKVM)
    }

    @Test(
        "Who may not use libvirt is told to join its group, but not where only a file is in the way",
        arguments: [
            ("qemu:///system", Int32(EACCES), "Join the group libvirt"),
            ("qemu:///system", ENOENT, "systemctl start libvirtd"),
            ("qemu:///session", EACCES, "unset XDG_RUNTIME_DIR"),
            ("qemu:///session", ENOENT, "apt install libvirt-daemon"),
        ])
    func connectionHints(uri: String, code: Int32, says: String) {
        // VIR_ERR_SYSTEM_ERROR and VIR_ERR_AUTH_CANCELLED of virterror.h.
        let (system, cancelled) = (UInt32(38), UInt32(79))
        let error = LibvirtError(code: system, systemCode: code, message: "", operation: "connect")
            .connectionError(uri)
        #expect(error.hint.contains(says))
        #expect(error.kind == (code == EACCES ? .permission : .noLibvirt))

        let file = LibvirtError(
            code: system, systemCode: EACCES, message: "", operation: "define the machine")
        #expect(file.machineError(.startFailed).hint.hasPrefix("Check the owner and mode"))
        let user = LibvirtError(
            code: cancelled, systemCode: 0, message: "",
            operation: "define the machine")
        #expect(user.machineError(.startFailed, hint: "other").hint.hasPrefix("Join the group"))
    }

    @Test(
        "The type of machine is blamed where libvirt's words are about it",
        arguments: [
            ("Emulator '/usr/bin/qemu-system-x86_64' does not support machine type 'nope'", true),
            ("XML error: No PCI buses available", true), ("unsupported configuration: no such 'Nope'", true),
            ("unsupported configuration: This QEMU doesn't support vhost-vsock", false),
            ("operation failed: domain 'rum-dev' already exists with uuid 1", false),
            ("cannot open file '/etc/libvirt/qemu/rum-nope.xml': No space left on device", false),
        ])
    func machineType(message: String, isBlamed: Bool) {
        let error = LibvirtError(code: 1, systemCode: 0, message: message, operation: "define the machine")
        #expect(error.mayMean(machineType: "nope") == isBlamed)
    }

    @Test("The CPU flag is a whole word of the flags line")
    func cpuFlags() {
        let intel = "processor\t: 0\nflags\t\t: fpu vme sse vmx smx\nvmx flags\t: vnmi\n"
        #expect(HostFacts.virtualizationFlag(inCPUInfo: intel) == "vmx")
        #expect(HostFacts.virtualizationFlag(inCPUInfo: "flags\t\t: fpu svm_lock svm\n") == "svm")
        // A guest whose hypervisor hides the extension: other words merely contain the letters.
        #expect(HostFacts.virtualizationFlag(inCPUInfo: "flags\t\t: fpu avx512_vmx2 svmx\n") == nil)
        #expect(HostFacts.virtualizationFlag(inCPUInfo: "") == nil)
    }

    @Test("Opening a device that is missing tells why")
    func vhostProbe() {
        #expect(HostFacts.probeVhostVsock(path: "/nonexistent") == ENOENT)
        #expect(HostFacts.probeVhostVsock(path: "/dev/null") == nil)
    }
}
