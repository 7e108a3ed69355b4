import Glibc
import Ports
import RumConfig
import TestSupport
import Testing

@testable import Machine

@Suite("What rum doctor makes of a host")
struct HostJudgementTests {
    private static func facts(
        refusal: String? = nil, flag: String? = "vmx", vsock: Int32? = nil, isSystem: Bool = false
    ) -> HostFacts {
        HostFacts(
            kvmRefusal: refusal, virtualizationFlag: flag, vhostVsockError: vsock, isSystemDaemon: isSystem)
    }

    private static func kvm(_ error: Int32? = nil) -> DeviceAccess {
        DeviceAccess(path: "/dev/kvm", error: error, group: error == ENOENT ? nil : "kvm")
    }

    private static func user(active: Set<String> = [], listed: Set<String> = []) -> GroupMembership {
        GroupMembership(user: "ann", isRoot: false, active: active, listed: listed)
    }

    private func accelerator(
        _ wanted: MachineConfig.DomainType, _ facts: HostFacts, _ kvm: DeviceAccess,
        user: GroupMembership = Self.user()
    ) -> HostFinding {
        HostJudgement.accelerator(wanted: wanted, facts: facts, kvm: kvm, user: user)
    }

    @Test("KVM that works is fine, and so is emulation that was asked for")
    func accelerator() {
        #expect(accelerator(.auto, Self.facts(), Self.kvm()).status == .ok)
        #expect(accelerator(.kvm, Self.facts(), Self.kvm()).status == .ok)
        #expect(accelerator(.qemu, Self.facts(refusal: "no", flag: nil), Self.kvm(ENOENT)).status == .ok)
    }

    @Test("A device that exists and does not work is told, which libvirt's offer would hide")
    func brokenKVM() {
        let auto = accelerator(.auto, Self.facts(), Self.kvm(ENODEV))
        #expect(auto.status == .warn)
        #expect(auto.message == "/dev/kvm cannot be used (No such device)")
        #expect(accelerator(.kvm, Self.facts(), Self.kvm(ENODEV)).status == .fail)
    }

    @Test("A user who may not open /dev/kvm is told the group, or to log in again")
    func deniedKVM() {
        let facts = Self.facts(refusal: "domain type kvm is not supported")
        let stranger = accelerator(.auto, facts, Self.kvm(EACCES))
        #expect(stranger.status == .warn)
        #expect(stranger.cure == "sudo usermod -aG kvm ann, then log out and in again")
        let newcomer = accelerator(.auto, facts, Self.kvm(EACCES), user: Self.user(listed: ["kvm"]))
        #expect(newcomer.cure?.contains("this log-in is older") == true)
        var closed = Self.kvm(EACCES)
        closed.group = nil
        let cure = accelerator(.auto, facts, closed).cure
        #expect(cure?.hasPrefix("sudo chgrp kvm /dev/kvm && sudo chmod 660") == true)
        // The system daemon has rights of its own.
        #expect(accelerator(.auto, Self.facts(isSystem: true), Self.kvm(EACCES)).status == .ok)
    }

    @Test("Without the CPU's flag the cure is in the firmware, without the module it is the module")
    func missingKVM() {
        let nested = accelerator(.auto, Self.facts(flag: nil), Self.kvm())
        #expect(nested.status == .warn)
        #expect(nested.cure?.contains("nested virtualization") == true)
        let module = accelerator(.auto, Self.facts(refusal: "no", flag: "svm"), Self.kvm(ENOENT))
        #expect(module.cure?.hasPrefix("sudo modprobe kvm_amd") == true)
        #expect(accelerator(.kvm, Self.facts(refusal: "no"), Self.kvm(ENOENT)).status == .fail)
    }

    @Test("vsock that is missing is a warning, unless the configuration insists")
    func channel() {
        func channel(_ wanted: MachineConfig.Channel, _ error: Int32?, isSystem: Bool = false) -> HostFinding
        {
            HostJudgement.channel(
                wanted: wanted, facts: Self.facts(vsock: error, isSystem: isSystem),
                vsock: DeviceAccess(path: "/dev/vhost-vsock", error: error, group: "kvm"), user: Self.user())
        }
        #expect(channel(.auto, nil).status == .ok)
        #expect(channel(.tcp, ENOENT).status == .ok)
        #expect(channel(.auto, ENOENT).status == .warn)
        #expect(channel(.auto, ENOENT).cure?.contains("modprobe vhost_vsock") == true)
        #expect(channel(.auto, EACCES).cure?.contains("usermod -aG kvm ann") == true)
        #expect(channel(.vsock, ENOENT).status == .fail)
        #expect(channel(.vsock, EACCES).status == .fail)
        #expect(channel(.vsock, EACCES, isSystem: true).status == .ok)
    }

    @Test("How folders would be mounted is told; that they can't be stops only who wants some")
    func mounts() {
        let driver = Result { () throws(MachineError) in
            try MountDriver.choose(
                .init(
                    hasVirtiofsd: true, libvirtVersion: 9_000_000, isSystemDaemon: true,
                    hasQEMUOurRights: false))
        }
        let found = HostJudgement.mounts(driver, areWanted: true)
        #expect(
            found.status == .ok
                && found.message == "folders reach the guest by virtiofs, since the host has virtiofsd")
        let none = Result<MountDriver, MachineError>.failure(
            .init(.missingTool, "no virtiofsd", hint: "install it"))
        #expect(HostJudgement.mounts(none, areWanted: true).status == .fail)
        #expect(HostJudgement.mounts(none, areWanted: false).status == .warn)
        #expect(HostJudgement.mounts(none, areWanted: false).cure == "install it")
    }

    @Test(
        "Missing UEFI stops only who asks for it, and is no matter where BIOS or a kernel starts the machine",
        arguments: [
            (.efi, false, .fail), (.auto, false, .warn), (.auto, true, .ok), (.bios, false, .ok),
        ] as [(MachineConfig.Firmware, Bool, HostFinding.Status)])
    func firmware(wanted: MachineConfig.Firmware, hasKernel: Bool, status: HostFinding.Status) {
        let missing = HostJudgement.firmware(hasUEFI: false, wanted: wanted, hasKernel: hasKernel)
        #expect(missing.status == status)
        #expect(missing.cure?.contains("apt install ovmf") ?? (status == .ok))
        #expect(HostJudgement.firmware(hasUEFI: true, wanted: wanted, hasKernel: hasKernel).status == .ok)
    }

    @Test("Groups matter only where a device is denied")
    func groups() {
        let denied = [Self.kvm(EACCES)]
        #expect(HostJudgement.groups(Self.user(), denied, isSystemDaemon: true).status == .ok)
        #expect(HostJudgement.groups(Self.user(), [Self.kvm()], isSystemDaemon: false).status == .ok)
        let finding = HostJudgement.groups(Self.user(), denied, isSystemDaemon: false)
        #expect(finding.status == .warn)
        #expect(finding.message == "ann is not in kvm")
    }

    @Test("A libvirt that refuses or says nothing stops rum up, with its cure")
    func libvirt() {
        let error = MachineError(.noLibvirt, "cannot connect", hint: "Start it.")
        let refused = HostJudgement.libvirt("qemu:///system", .failed(error))
        #expect(refused == HostFinding("libvirt", .fail, "cannot connect", cure: "Start it."))
        #expect(HostJudgement.libvirt("qemu:///session", .silent(.seconds(15))).status == .fail)
        #expect(
            HostJudgement.libvirt("qemu:///session", .version("9.0.0")).message
                == "libvirt 9.0.0 answers at qemu:///session")
    }

    @Test("Room and memory are judged by what is left")
    func room() {
        func room(_ free: UInt64?, isWritable: Bool = true) -> HostFinding.Status {
            HostJudgement.room("cache", "/c", free: free, isWritable: isWritable, variable: "RUM_CACHE")
                .status
        }
        #expect(room(100 << 30) == .ok)
        #expect(room(1 << 30) == .warn)
        #expect(room(1 << 20) == .fail)
        #expect(room(100 << 30, isWritable: false) == .fail)
        #expect(room(nil) == .fail)
        #expect(HostJudgement.memory(wanted: 2 << 30, available: 1 << 30).status == .warn)
        #expect(HostJudgement.memory(wanted: 2 << 30, available: 37 << 30).status == .ok)
    }

    @Test("A port below 1024 is told with three cures, but not to root")
    func ports() {
        let low = [StaticPort(bind: .loopback, host: port(80), guest: port(80))]
        let finding = HostJudgement.ports(low, firstFree: 1024, isRoot: false)
        #expect(finding?.status == .warn)
        for cure in ["higher host port", "ip_unprivileged_port_start=80", "cap_net_bind_service"] {
            #expect(finding?.cure?.contains(cure) == true)
        }
        #expect(HostJudgement.ports(low, firstFree: 0, isRoot: false) == nil)
        #expect(HostJudgement.ports(low, firstFree: 1024, isRoot: true) == nil)
    }

    @Test("A device's path decides what is found", .timeLimit(.minutes(1)))
    func devices() {
        #expect(DeviceAccess.kvm(path: "/nonexistent").error == ENOENT)
        #expect(DeviceAccess.vsock(path: "/dev/null").error == nil)
        // It opens, but is no KVM.
        #expect(DeviceAccess.kvm(path: "/dev/null").error == ENOTTY)
    }
}
