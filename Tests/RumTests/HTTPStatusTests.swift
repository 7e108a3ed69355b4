import Testing

@testable import rum

@Suite("The status of an HTTP answer")
struct HTTPStatusTests {
    @Test(
        "Is found in pieces of any size, behind interim answers",
        arguments: [
            ("HTTP/1.1 200 OK\r\n", 200), ("HTTP/1.0 503 Service Unavailable\r\nA: b\r\n\r\n", 503),
            ("HTTP/1.1 204\r\n", 204), ("HTTP/1.1 301 \n", 301),
            ("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n", 200),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 500 No\r\n", 500),
            ("HTTP/1.1 101 Switching Protocols\r\n", 101),
        ], [1, 3, 1000])
    func status(_ answer: (text: String, status: Int), piece: Int) {
        var reader = HTTPStatusReader()
        var rest = Array(answer.text.utf8)[...]
        var result = HTTPStatusReader.Result.incomplete
        while result == .incomplete, !rest.isEmpty {
            result = reader.add(rest.prefix(piece))
            rest = rest.dropFirst(piece)
        }
        #expect(result == .status(answer.status))
    }

    @Test(
        "Other protocols are told apart at once",
        arguments: [
            "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/2 200\r\n", "H\n", "\u{15}\u{3}\u{1}", "HTTP/1.1 20 OK\r\n",
            "HTTP/1.1 099 No\r\n", "HTTP/1.1\r\n", "HTTQ", "HTTP/1.1 103 E\r\n\r\nSSH\r\n",
        ])
    func others(_ text: String) {
        var reader = HTTPStatusReader()
        #expect(reader.add(text.utf8) == .notHTTP)
    }

    @Test("An answer without an end is given up")
    func endless() {
        var reader = HTTPStatusReader()
        #expect(reader.add("HTTP/1.1 100 C\r\n".utf8) == .incomplete)
        var result = HTTPStatusReader.Result.incomplete
        for _ in 0..<1000 where result == .incomplete {
            result = reader.add("Header: value, and no end\r\n".utf8)
        }
        #expect(result == .notHTTP)
    }
}
