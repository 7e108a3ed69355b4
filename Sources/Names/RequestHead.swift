internal import Linux

/// The head of an HTTP/1 request, as far as it tells the host (RFC 9112).
enum RequestHead {
    private static let lineFeed = UInt8(ascii: "\n")
    private static let space = UInt8(ascii: " ")
    private static let tab = UInt8(ascii: "\t")

    static func opening(_ bytes: [UInt8]) -> ClientOpening {
        var rest = bytes[...]
        guard let first = nextLine(&rest) else {
            return canBecomeRequestLine(rest) ? .incomplete : .foreign
        }
        let words = first.split(separator: space, omittingEmptySubsequences: false)
        guard canBecomeRequestLine(first), words.count == 3, isToken(words[0]), !words[1].isEmpty,
            words[2].starts(with: "HTTP/1.".utf8)
        else { return .foreign }
        let form = ClientRequest.Form.http1(wantsBody: !words[0].elementsEqual("HEAD".utf8))
        // A target with a host in it outweighs the field (RFC 9112, 3.2.2).
        if let host = host(ofTarget: words[1]) { return .request(.init(form: form, host: host)) }
        while let line = nextLine(&rest) {
            // The end of the head; or a folded line, which no client may send (RFC 9112, 5.2).
            guard let start = line.first, start != space, start != tab,
                let colon = line.firstIndex(of: UInt8(ascii: ":"))
            else { return .request(.init(form: form, host: nil)) }
            guard isHost(line[..<colon]) else { continue }
            return .request(.init(form: form, host: text(line[(colon + 1)...])))
        }
        return .incomplete
    }

    /// Takes the next line off `rest`, without its end; nil when it is not complete.
    private static func nextLine(_ rest: inout ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard let end = rest.firstIndex(of: lineFeed) else { return nil }
        var line = rest[..<end]
        if line.last == UInt8(ascii: "\r") { line.removeLast() }
        rest = rest[(end + 1)...]
        return line
    }

    /// So that what is no HTTP is known at its first byte that can't be.
    private static func canBecomeRequestLine(_ bytes: ArraySlice<UInt8>) -> Bool {
        let method = bytes.prefix { $0 != space }
        return isToken(method) && method.count <= 32
            && bytes.allSatisfy { $0 >= space && $0 != 0x7f || $0 == UInt8(ascii: "\r") }
    }

    /// RFC 9110, 5.6.2.
    private static func isToken(_ bytes: ArraySlice<UInt8>) -> Bool {
        !bytes.isEmpty
            && bytes.allSatisfy { $0.isASCIIAlphanumeric || "!#$%&'*+-.^_`|~".utf8.contains($0) }
    }

    private static func isHost(_ name: ArraySlice<UInt8>) -> Bool {
        name.count == 4 && name.map { $0 | 0x20 }.elementsEqual("host".utf8)
    }

    /// Of a target such as `http://5173.dev.localhost:7000/`; nil for one without a scheme.
    private static func host(ofTarget target: ArraySlice<UInt8>) -> String? {
        guard target.first != UInt8(ascii: "/"), case let text = String(decoding: target, as: UTF8.self),
            let scheme = text.firstRange(of: "://")
        else { return nil }
        let authority = text[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" }
        return String(authority)
    }

    private static func text(_ value: ArraySlice<UInt8>) -> String {
        func isBlank(_ byte: UInt8) -> Bool { byte == space || byte == tab }
        let start = value.drop(while: isBlank)
        let end = start.lastIndex { !isBlank($0) }.map { start.index(after: $0) } ?? start.startIndex
        return String(decoding: start[..<end], as: UTF8.self)
    }
}
