import AgentAPI

/// HTTP/2 by hand (RFC 9113, RFC 7541).
enum RawCall {
    /// The client's preface with empty SETTINGS.
    static let preface =
        Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + frame(type: 4, flags: 0, stream: 0, [])

    /// The preface and one call of `Ping`.
    static func ping(token: String?, timeout: String? = nil) -> [UInt8] {
        let emptyMessage: [UInt8] = [0, 0, 0, 0, 0]
        return preface + headers(token: token, timeout: timeout)
            + frame(type: 0, flags: 1, stream: 1, emptyMessage)
    }

    /// The preface and a call with so many frames that say nothing.
    static func emptyFrames(_ count: Int, token: String?) -> [UInt8] {
        let frames = (0..<count).flatMap { _ in frame(type: 0, flags: 0, stream: 1, []) }
        return preface + headers(token: token) + frames
    }

    private static func headers(token: String?, timeout: String? = nil) -> [UInt8] {
        var fields = [
            (":method", "POST"), (":scheme", "http"), (":path", "/rum.v1.RumAgent/Ping"), (":authority", "x"),
            ("te", "trailers"), ("content-type", "application/grpc"),
        ]
        if let token { fields.append((AgentMetadata.tokenKey, token)) }
        if let timeout { fields.append(("grpc-timeout", timeout)) }
        return headers(fields)
    }

    /// A server's empty SETTINGS.
    static let settings = frame(type: 4, flags: 0, stream: 0, [])

    /// The head of an answer to a client's first call, and its end.
    static func answer(status: String) -> [UInt8] {
        headers([(":status", status), ("content-type", "application/grpc")])
            + frame(type: 3, flags: 0, stream: 1, [0, 0, 0, 8])
    }

    /// Whether the first call is among what a client has said.
    static func hasCall(_ said: [UInt8]) -> Bool {
        var rest = said.dropFirst(24)
        while rest.count >= 9 {
            let header = Array(rest.prefix(9))
            if header[3] == 1 { return true }
            rest = rest.dropFirst(9 + Int(header[0]) << 16 + Int(header[1]) << 8 + Int(header[2]))
        }
        return false
    }

    private static func headers(_ fields: [(String, String)]) -> [UInt8] {
        // Each a literal that is not indexed, with a new name, both without Huffman coding.
        let block = fields.flatMap { name, value -> [UInt8] in
            [0, UInt8(name.utf8.count)] + Array(name.utf8) + [UInt8(value.utf8.count)] + Array(value.utf8)
        }
        return frame(type: 1, flags: 4, stream: 1, block)
    }

    private static func frame(type: UInt8, flags: UInt8, stream: UInt8, _ payload: [UInt8]) -> [UInt8] {
        [0, UInt8(payload.count >> 8), UInt8(payload.count & 0xff), type, flags, 0, 0, 0, stream] + payload
    }
}
