import Names
import Testing

@Suite("What a client's first bytes say")
struct ClientOpeningTests {
    static func opening(_ bytes: [UInt8], hasSettings: Bool = false) -> ClientOpening {
        ClientOpening(bytes, hasSettings: hasSettings) { block in
            String(decoding: block, as: UTF8.self)
        }
    }

    static func opening(_ text: String) -> ClientOpening { opening(Array(text.utf8)) }

    private func request(_ host: String?, wantsBody: Bool = true) -> ClientOpening {
        .request(ClientRequest(form: .http1(wantsBody: wantsBody), host: host))
    }

    // MARK: HTTP/1

    @Test(
        "The host of an HTTP/1 request",
        arguments: [
            ("GET / HTTP/1.1\r\nHost: 5173.dev.localhost:7000\r\n", "5173.dev.localhost:7000"),
            ("GET / HTTP/1.1\r\nAccept: */*\r\nhOsT:\t a.localhost \t\r\n\r\n", "a.localhost"),
            ("PROPFIND /x?y HTTP/1.0\nHost:b\n", "b"),
            ("GET http://5173.dev.localhost:7000/x HTTP/1.1\r\n", "5173.dev.localhost:7000"),
            ("GET / HTTP/1.1\r\nHost: \r\n", ""),
        ])
    func host(text: String, host: String) { #expect(Self.opening(text) == request(host)) }

    @Test("HEAD wants no body") func head() {
        #expect(Self.opening("HEAD / HTTP/1.1\r\nHost: a\r\n") == request("a", wantsBody: false))
    }

    @Test(
        "A request that ends without a host, or has a folded line before it, names none",
        arguments: [
            "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.0\r\nAccept: x\r\n\r\nHost: a\r\n",
            "GET / HTTP/1.1\r\nX: 1\r\n Host: a\r\n", "GET / HTTP/1.1\r\nno field\r\nHost: a\r\n",
        ])
    func hostless(text: String) { #expect(Self.opening(text) == request(nil)) }

    @Test("Every cut before the end of the host's line is incomplete")
    func cuts() {
        let text = Array("POST /login HTTP/1.1\r\nCookie: a=b\r\nHost: dev.localhost\r\n".utf8)
        for count in 0..<text.count {
            #expect(Self.opening(Array(text[..<count])) == .incomplete, "\(count) bytes")
        }
        #expect(Self.opening(text) == request("dev.localhost"))
    }

    @Test(
        "What is neither HTTP nor TLS is known at once",
        arguments: [
            "\0\0\0\u{8}\u{4}", "SSH-2.0-OpenSSH_9.2\r\n", "GET / SMTP\r\n", "hello\n", "\r\n\r\n", " GET",
            "GET /\r\n", "GET  / HTTP/1.1\r\n", "{\"a\": 1", "\u{80}",
        ])
    func foreign(text: String) { #expect(Self.opening(text) == .foreign) }

    // MARK: TLS

    /// A ClientHello with these extensions, in records of at most so many bytes.
    static func hello(_ extensions: [UInt8]?, recordSize: Int = 16_384) -> [UInt8] {
        var body: [UInt8] = [3, 3] + [UInt8](repeating: 7, count: 32) + [0, 0, 2, 0x13, 1, 1, 0]
        if let extensions {
            body += [UInt8(extensions.count >> 8), UInt8(extensions.count & 255)] + extensions
        }
        let message = [1, 0, UInt8(body.count >> 8), UInt8(body.count & 255)] + body
        return stride(from: 0, to: message.count, by: recordSize).flatMap { start in
            let part = message[start..<min(message.count, start + recordSize)]
            return [22, 3, 1, UInt8(part.count >> 8), UInt8(part.count & 255)] + part
        }
    }

    static func serverName(_ name: String) -> [UInt8] {
        let text = Array(name.utf8)
        let count = UInt8(text.count)
        // supported_versions stands before it.
        return [0, 43, 0, 3, 2, 3, 4, 0, 0, 0, count + 5, 0, count + 3, 0, 0, count] + text
    }

    @Test("The server's name of a ClientHello, in one record or in many", arguments: [16_384, 64, 5, 1])
    func serverName(recordSize: Int) {
        let bytes = Self.hello(Self.serverName("5443.dev.localhost"), recordSize: recordSize)
        let expected = ClientOpening.request(ClientRequest(form: .tls, host: "5443.dev.localhost"))
        #expect(Self.opening(bytes) == expected)
        #expect(Self.opening(bytes + [23, 3, 3, 0, 1, 0]) == expected)
        for count in 1..<bytes.count { #expect(Self.opening(Array(bytes[..<count])) == .incomplete) }
    }

    @Test("A ClientHello without the extension, or without any, names no host")
    func noServerName() {
        let nothing = ClientOpening.request(ClientRequest(form: .tls, host: nil))
        #expect(Self.opening(Self.hello([0, 43, 0, 3, 2, 3, 4])) == nothing)
        #expect(Self.opening(Self.hello([])) == nothing)
        #expect(Self.opening(Self.hello(nil)) == nothing)
    }

    @Test("Lengths that do not fit, other messages and other versions are foreign")
    func brokenHello() {
        // A name longer than its list, a list longer than its extension, an extension longer than all.
        for wrong in [[0, 0, 0, 4, 0, 2, 0, 0, 9, 65], [0, 0, 0, 2, 0, 9], [0, 0, 0, 9, 0]] as [[UInt8]] {
            #expect(Self.opening(Self.hello(wrong)) == .foreign)
        }
        var other = Self.hello(nil)
        other[5] = 2
        #expect(Self.opening(other) == .foreign)
        var old = Self.hello(nil)
        old[1] = 2
        #expect(Self.opening(old) == .foreign)
        #expect(Self.opening([22, 3, 1, 0, 0, 22, 3, 1, 0, 0]) == .foreign)
    }

    @Test("Whatever byte of a hello, a request or a connection is another, it ends in an answer")
    func changedBytes() {
        let connection =
            HTTP2OpeningTests.preface + HTTP2OpeningTests.settings + HTTP2OpeningTests.headers("a")
        for sample in [Self.hello(Self.serverName("a.localhost")), connection] {
            for index in sample.indices {
                for value in [0, 1, 127, 255] as [UInt8] {
                    var bytes = sample
                    bytes[index] = value
                    for hasSettings in [false, true] { _ = Self.opening(bytes, hasSettings: hasSettings) }
                }
            }
        }
    }
}
