import Testing

@testable import Machine

@Suite("What libvirt and QEMU print")
struct ParsingTests {
    @Test("The CID of a running machine is read from its live XML")
    func vsockCID() {
        let live = """
                <vsock model='virtio'>
                  <cid auto='yes' address='3'/>
                  <alias name='vsock0'/>
                </vsock>
            """
        #expect(LiveXML.vsockCID(live) == 3)
        #expect(LiveXML.domainType("<domain type='kvm' id='7'>\n  <name>x</name>") == "kvm")
        // Not started yet: libvirt has assigned nothing.
        #expect(LiveXML.vsockCID("<vsock model='virtio'>\n<cid auto='yes'/>\n</vsock>") == nil)
        #expect(LiveXML.vsockCID("<domain/>") == nil)
    }

    @Test("The file of a disk is the first that its element names")
    func diskFile() {
        // libvirt 9.0, after `virsh snapshot-create-as rum-dev s1 --disk-only`.
        let domain = """
            <disk type='file' device='disk'>
              <driver name='qemu' type='qcow2'/>
              <source file='/m/disk.s1' index='2'/>
              <backingStore type='file'>
                <format type='qcow2'/>
                <source file='/m/disk.qcow2'/>
                <backingStore/>
              </backingStore>
              <target dev='vda' bus='virtio'/>
            </disk>
            <disk type='file' device='disk'>
              <source file='/m/seed.iso'/>
              <target dev='vdb' bus='virtio'/>
            </disk>
            """
        #expect(LiveXML.diskFile("vda", of: domain) == "/m/disk.s1")
        #expect(LiveXML.diskFile("vdb", of: domain) == "/m/seed.iso")
        #expect(LiveXML.diskFile("vdc", of: domain) == nil)
    }

    @Test("A guest that is woken goes on, one that boots has started")
    func wakeUp() {
        // libvirt-domain.h: VIR_DOMAIN_EVENT_STARTED with BOOTED and WAKEUP, PMSUSPENDED with MEMORY.
        #expect(MachineEvent(lifecycle: 2, detail: 0) == .started)
        #expect(MachineEvent(lifecycle: 2, detail: 4) == .resumed)
        #expect(MachineEvent(lifecycle: 7, detail: 0) == .suspended(.requested))
    }

    @Test("Whether there is UEFI is what the values of libvirt's `firmware` say, and no others")
    func firmware() {
        // libvirt 9.0, `virsh domcapabilities`.
        func capabilities(_ values: String) -> String {
            """
              <path>/usr/bin/qemu-system-x86_64</path>
              <os supported='yes'>
                \(values)
                <loader supported='yes'>
                  <value>/usr/share/OVMF/OVMF_CODE_4M.fd</value>
                  <enum name='type'>
                    <value>efi</value>
                  </enum>
                </loader>
              </os>
            """
        }
        let found = EmulationOffer(capabilities("<enum name='firmware'>\n<value>efi</value>\n</enum>"))
        #expect(found == EmulationOffer(emulator: "/usr/bin/qemu-system-x86_64", hasUEFI: true))
        #expect(!EmulationOffer(capabilities("<enum name='firmware'/>")).hasUEFI)
        #expect(!EmulationOffer(capabilities("<enum name='firmware'>\n<value>bios</value>\n</enum>")).hasUEFI)
        #expect(!EmulationOffer("").hasUEFI)
    }

    @Test("The agent's pair of host ports is found among QEMU's forwards")
    func agentPort() {
        // QEMU 7.2, `info usernet`, with a connection in progress.
        let output = """
            Hub -1 (hostnet0):
              Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
              TCP[ESTABLISHED]   31       127.0.0.1 33005       10.0.2.15  2222     0     0
              TCP[HOST_FORWARD]  19       127.0.0.1 33006       10.0.2.15  2223     0     0
              TCP[HOST_FORWARD]  18       127.0.0.1 33005       10.0.2.15  2222     0     0
              UDP[236 sec]       12       10.0.2.15 54321        10.0.2.3    53     0     0

            """
        #expect(UserNetwork.agentPort(in: output) == 33005)
        // Half a pair is none, nor are two that are no neighbours or bound elsewhere.
        #expect(UserNetwork.agentPort(in: output.replacing("33006", with: "33007")) == nil)
        #expect(UserNetwork.agentPort(in: output.replacing("127.0.0.1", with: "0.0.0.0")) == nil)
        #expect(UserNetwork.agentPort(in: "") == nil)
    }

    @Test("The user of QEMU is that of the dac model")
    func qemuUser() {
        let capabilities = """
            <secmodel>
              <model>apparmor</model>
              <doi>0</doi>
            </secmodel>
            <secmodel>
              <model>dac</model>
              <doi>0</doi>
              <baselabel type='kvm'>+64055:+109</baselabel>
              <baselabel type='qemu'>+64055:+109</baselabel>
            </secmodel>
            """
        #expect(LiveXML.qemuUser(capabilities) == 64055)
        #expect(LiveXML.qemuUser("<secmodel><model>none</model></secmodel>") == nil)
        #expect(
            LiveXML.qemuUser("<secmodel><model>dac</model></secmodel><baselabel>+1:+1</baselabel>") == nil)
    }
}
