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
        // Not started yet: libvirt has assigned nothing.
        #expect(LiveXML.vsockCID("<vsock model='virtio'>\n<cid auto='yes'/>\n</vsock>") == nil)
        #expect(LiveXML.vsockCID("<domain/>") == nil)
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
