import Names
import Testing

@Suite("Names under localhost")
struct LocalNameTests {
    @Test(
        "What stands before .localhost, without port, case and final dot",
        arguments: [
            ("5173.dev.localhost:7000", "5173.dev"), ("Web.Dev.LOCALHOST", "web.dev"),
            ("dev.localhost.", "dev"),
            ("dev.localhost.:80", "dev"), ("localhost:7000", ""), ("localhost", ""), ("127.0.0.1:7000", ""),
            ("[::1]:7000", ""), ("[::1]", ""), ("a_b.c-d.localhost:", "a_b.c-d"),
        ])
    func local(host: String, labels: String) { #expect(LocalName(host: host)?.labels == labels) }

    @Test(
        "Another site's name is none, whatever it leads to",
        arguments: [
            "evil.example", "localhost.evil.example", "5173.dev.localhost.evil.example:7000", "evillocalhost",
            "127.0.0.2", "127.0.0.1.evil.example", "[::2]", "[::1]x", "[::1", "dev.localhost:80x",
            "dev.localhost:80:80",
            "", ".localhost", "dev.localhost@evil.example", "a b.localhost.x",
        ])
    func foreign(host: String) { #expect(LocalName(host: host) == nil) }

    @Test("A name that is far too long is none") func long() {
        #expect(LocalName(host: String(repeating: "a.", count: 200) + "localhost") == nil)
    }

    @Test("An address leaves its scheme's own port out") func url() {
        #expect(
            ServiceName.url(of: "5173", machine: "Dev", router: 7000) == "http://5173.dev.localhost:7000/")
        #expect(ServiceName.url(of: nil, machine: "dev", router: 80) == "http://dev.localhost/")
        #expect(
            ServiceName.url(of: "web", machine: "dev", router: 80, scheme: "https")
                == "https://web.dev.localhost:80/")
        #expect(
            ServiceName.url(of: "web", machine: "dev", router: 443, scheme: "https")
                == "https://web.dev.localhost/")
    }
}
