import Testing

@testable import AgentService

@Suite("What surrounds the agent's work")
struct OrdinaryProcessTests {
    @Test("Name, home and shell come from the passwd file, with fallbacks for what it leaves out")
    func user() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\nweb:x:33:33::/var/www:\n"
        #expect(OrdinaryProcess.user(0, in: passwd) == ("root", "/root", "/bin/bash"))
        #expect(OrdinaryProcess.user(33, in: passwd) == ("web", "/var/www", "/bin/sh"))
        #expect(OrdinaryProcess.user(0, in: "") == ("root", "/root", "/bin/sh"))
        #expect(OrdinaryProcess.user(1000, in: passwd) == ("1000", "/", "/bin/sh"))
    }
}
