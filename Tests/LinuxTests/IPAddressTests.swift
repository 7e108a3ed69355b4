import Linux
import Testing

@Suite("IP addresses")
struct IPAddressTests {
    @Test(
        "Text gives the address and the address gives its canonical text",
        arguments: [
            ("0.0.0.0", "0.0.0.0"), ("127.0.0.1", "127.0.0.1"), ("255.255.255.255", "255.255.255.255"),
            ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("0:0:0:0:0:0:0:1", "::1"),
            ("2001:DB8::0001", "2001:db8::1"), ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
            ("::ffff:7f00:1", "::ffff:127.0.0.1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("fe80::1:2", "fe80::1:2"),
            ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
        ])
    func canonical(text: String, expected: String) throws {
        #expect(try #require(IPAddress(text: text)).description == expected)
    }

    @Test(
        "What is no address is refused",
        arguments: [
            "", ".", "1.2.3", "1.2.3.4.5", "256.0.0.1", "01.2.3.4", "1.2.3.4 ", "-1.2.3.4", "1.2.3.+4",
            "localhost",
            ":", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "12345::",
            "g::", "::1%lo",
            "[::1]", "::1/128", "::1.2.3", "1.2.3.4::", "::ffff:127.0.0.256",
        ])
    func refused(text: String) {
        #expect(IPAddress(text: text) == nil)
    }

    @Test("Loopback is 127.0.0.0/8, ::1 and the former mapped into IPv6")
    func loopback() throws {
        for (text, expected) in [
            ("127.0.0.1", true), ("127.255.0.9", true), ("128.0.0.1", false), ("::1", true), ("::2", false),
            ("::ffff:127.0.0.1", true), ("::ffff:10.0.0.1", false), ("0.0.0.0", false),
        ] {
            #expect(try #require(IPAddress(text: text)).isLoopback == expected, "\(text)")
        }
    }

    @Test("fe80::/10 is link-local")
    func linkLocal() throws {
        for (text, expected) in [
            ("fe80::1", true), ("febf::", true), ("fec0::", false), ("169.254.0.1", false),
        ] {
            #expect(try #require(IPAddress(text: text)).isLinkLocal == expected, "\(text)")
        }
    }

    @Test("IPv4 sorts before IPv6, each by number")
    func order() throws {
        let texts = ["0.0.0.0", "9.0.0.0", "10.0.0.0", "::", "::1", "1::"]
        let addresses = try texts.map { try #require(IPAddress(text: $0)) }
        #expect(addresses.reversed().sorted() == addresses)
    }
}
