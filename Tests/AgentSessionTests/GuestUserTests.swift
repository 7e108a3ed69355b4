import Testing

@testable import AgentService

@Suite("Users of the guest, as its files tell")
struct GuestUserTests {
    private let passwd = """
        root:x:0:0:root:/root:/bin/bash
        broken
        rum:x:1000:1000:me,,,:/home/rum:/usr/bin/zsh
        web:x:33:33::/var/www:

        """

    @Test("Name, home and shell come from the passwd file, with fallbacks for what it leaves out")
    func numbered() {
        let web = GuestUser.numbered(33, passwd: passwd)
        #expect((web.name, web.home, web.shell) == ("web", "/var/www", "/bin/sh"))
        #expect(GuestUser.numbered(0, passwd: passwd).shell == "/bin/bash")
        let root = GuestUser.numbered(0, passwd: "")
        #expect((root.name, root.home, root.shell) == ("root", "/root", "/bin/sh"))
        let unknown = GuestUser.numbered(1001, passwd: passwd)
        #expect((unknown.name, unknown.home) == ("1001", "/"))
    }

    @Test("A user has the groups that name it, each once, its own first")
    func groups() {
        let group =
            "rum:x:1000:\nsudo:x:27:me,rum\nadm:x:4:rumba\ndocker:x:998:rum\nodd:x:y:rum\ntwice:x:27:rum\n"
        let user = GuestUser.named("rum", passwd: passwd, group: group)
        #expect(
            user
                == GuestUser(
                    name: "rum", uid: 1000, gid: 1000, home: "/home/rum", shell: "/usr/bin/zsh",
                    groups: [1000, 27, 998]))
        #expect(GuestUser.named("nobody-here", passwd: passwd, group: group) == nil)
    }
}
