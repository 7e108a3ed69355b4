import Names
import Testing

@Suite("The router's pages")
struct RouterPageTests {
    private let services = [
        RouterPage.Service(name: "5173", port: 5173, process: "<b>node", host: "127.0.0.1:5173"),
        RouterPage.Service(
            name: "shop", port: 5443, process: nil, host: "127.0.0.1:5443", scheme: "https"),
    ]

    private func text(_ page: RouterPage, wantsBody: Bool = true) -> String {
        String(decoding: page.bytes(for: .http1(wantsBody: wantsBody)), as: UTF8.self)
    }

    @Test("A machine's page links what is open, and shows the guest's words as text")
    func machine() {
        let text = text(.machine("dev", services, router: 7000))
        #expect(text.hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(text.contains("<a href=\"http://5173.dev.localhost:7000/\">"))
        #expect(text.contains("<a href=\"https://shop.dev.localhost:7000/\">"))
        #expect(text.contains("&lt;b&gt;node") && !text.contains("<b>node"))
    }

    @Test("The length is that of the body, which HEAD does not get")
    func length() throws {
        let page = RouterPage.noService("web<", of: "dev", services, router: 7000)
        let parts = text(page).split(separator: "\r\n\r\n", maxSplits: 1)
        #expect(parts[0].contains("Content-Length: \(parts[1].utf8.count)"))
        #expect(parts[0].hasPrefix("HTTP/1.1 404 Not Found\r\n") && parts[1].contains("web&lt;"))
        #expect(text(page, wantsBody: false) == parts[0] + "\r\n\r\n")
    }

    @Test("No page may be framed or run scripts, and one for a foreign host tells of no machine")
    func foreign() {
        #expect(
            text(.notLocal).contains("default-src 'none'")
                && text(.notLocal).contains("frame-ancestors 'none'"))
        #expect(text(.notLocal).hasPrefix("HTTP/1.1 421 "))
    }

    @Test("HTTP/2 gets frames of at most 16 KiB, the last of which ends the stream")
    func http2() {
        let many = (1...1000).map {
            RouterPage.Service(name: "\($0)", port: UInt16($0), process: "a program", host: "127.0.0.1:\($0)")
        }
        var rest = RouterPage.machine("dev", many, router: 7000).bytes(for: .http2(stream: 5))[...]
        var frames: [(type: UInt8, flags: UInt8, stream: UInt8, count: Int)] = []
        while rest.count >= 9 {
            let header = Array(rest.prefix(9))
            let count = Int(header[0]) << 16 | Int(header[1]) << 8 | Int(header[2])
            frames.append((header[3], header[4], header[8], count))
            rest = rest.dropFirst(9 + count)
        }
        #expect(rest.isEmpty && frames.allSatisfy { $0.count <= 16_384 })
        #expect(frames[0].type == 4 && frames[1].type == 1 && frames[1].flags == 4)
        #expect(frames.dropFirst().allSatisfy { $0.stream == 5 })
        #expect(frames.last?.flags == 1 && frames.dropLast().allSatisfy { $0.type != 0 || $0.flags == 0 })
        #expect(frames.dropFirst(2).map(\.count).reduce(0, +) <= 65_535)
    }

    @Test("TLS gets a fatal alert: unrecognized_name") func tls() {
        #expect(RouterPage.noHost.bytes(for: .tls) == [21, 3, 3, 0, 2, 2, 112])
    }
}
