import Testing

@testable import RumConfig

@Suite("Which libvirt a configuration may name")
struct LibvirtURITests {
    @Test(
        "A libvirt of this host is taken, in its normal form",
        arguments: [
            ("qemu:///session", "qemu:///session"), ("qemu:///system", "qemu:///system"),
            ("QEMU:///system", "qemu:///system"), ("test:///default", "test:///default"),
            (
                "qemu+unix:///system?socket=/tmp/x/libvirt-sock",
                "qemu+unix:///system?socket=/tmp/x/libvirt-sock"
            ),
            ("qemu:///system?socket=/tmp/x", "qemu:///system?socket=/tmp/x"),
            ("qemu:///session?mode=direct&socket=/a", "qemu:///session?mode=direct&socket=/a"),
        ])
    func allowed(text: String, expected: String) {
        #expect(LibvirtURI.normalised(text) == expected)
    }

    @Test(
        "Nothing that could run a program, leave this host or read another file is taken",
        arguments: [
            "qemu+ext://x/session?command=/tmp/evil", "qemu+ext:///session?command=/tmp/evil",
            "QEMU+EXT:///session?command=/tmp/evil", "qemu+ssh://x/system?command=/tmp/evil",
            "qemu+ssh:///system?netcat=/tmp/evil", "qemu+libssh2://x/system", "xen+ext:///?command=/tmp/evil",
            "xen:///", "lxc:///", "qemu://host/system", "qemu://user@host/system", "qemu+tcp://host/system",
            "qemu+tls://host/system", "qemu:///system?command=/tmp/evil",
            "qemu+unix:///system?socket=/a&command=/tmp/evil",
            "qemu+unix:///system?socket=/a;command=/tmp/evil",
            "qemu+unix:///system?socket=/a%26command=/tmp/evil", "qemu+unix:///system?%63ommand=/tmp/evil",
            "qemu:///system?socket=/a&socket=/b", "qemu:///system?socket=relative",
            "qemu:///system?socket=/a'b",
            "qemu:///system?name=qemu%2bext:///x", "qemu:///system?", "qemu:///system#x",
            "qemu:///system/../x",
            "qemu:///embed?root=/tmp", "test:///tmp/evil.xml", "test:///default?x=1", "test+ext:///default",
            "test+ssh:///default", "qemu:/system", "qemu:///", "session", "", "://", "qemu+ext", "http:///x",
            " qemu:///system", "qemu:///system\n", "qemu\u{0}:///system", "remote:///system",
        ])
    func refused(text: String) {
        #expect(LibvirtURI.normalised(text) == nil)
    }
}
