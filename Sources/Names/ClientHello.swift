/// The first message of TLS, as far as it tells the server's name (RFC 8446, 4.1.2; RFC 6066, 3).
enum ClientHello {
    /// Of a record with handshake messages, which a client begins with.
    static let recordType: UInt8 = 22
    private static let messageType: UInt8 = 1
    private static let serverNameExtension = 0
    private static let hostNameType = 0

    static func opening(_ bytes: [UInt8]) -> ClientOpening {
        guard let message = message(in: bytes) else { return .foreign }
        guard let end = end(of: message) else { return .incomplete }
        guard message[0] == messageType else { return .foreign }
        guard message.count >= end else { return .incomplete }
        var body = ByteReader(message[4..<end])
        do throws(ByteReader.Short) {
            return .request(ClientRequest(form: .tls, host: try serverName(in: &body)))
        } catch {
            return .foreign
        }
    }

    /// Where the first message ends; nil before its length has come.
    private static func end(of message: [UInt8]) -> Int? {
        guard message.count >= 4 else { return nil }
        return 4 + (Int(message[1]) << 16 | Int(message[2]) << 8 | Int(message[3]))
    }

    /// What the records carry up to the first message's end, as far as it has come; nil when these are no such records.
    private static func message(in bytes: [UInt8]) -> [UInt8]? {
        var message: [UInt8] = []
        var rest = bytes[...]
        while rest.count >= 5, message.count < end(of: message) ?? .max {
            let start = rest.startIndex
            let length = Int(rest[start + 3]) << 8 | Int(rest[start + 4])
            // Version 3.x; no record is empty (RFC 8446, 5.1).
            guard rest[start] == recordType, rest[start + 1] == 3, length > 0 else { return nil }
            message += rest.dropFirst(5).prefix(length)
            rest = rest.dropFirst(5 + length)
        }
        return message
    }

    private static func serverName(in body: inout ByteReader) throws(ByteReader.Short) -> String? {
        // Version and random.
        _ = try body.take(2 + 32)
        // Session, cipher suites, compression methods.
        _ = try body.takeVector(lengthBytes: 1)
        _ = try body.takeVector(lengthBytes: 2)
        _ = try body.takeVector(lengthBytes: 1)
        // Older clients may end here.
        guard !body.isEmpty else { return nil }
        var extensions = ByteReader(try body.takeVector(lengthBytes: 2))
        while !extensions.isEmpty {
            let type = try extensions.number(bytes: 2)
            let content = try extensions.takeVector(lengthBytes: 2)
            guard type == serverNameExtension else { continue }
            var outer = ByteReader(content)
            var names = ByteReader(try outer.takeVector(lengthBytes: 2))
            while !names.isEmpty {
                let type = try names.number(bytes: 1)
                let name = try names.takeVector(lengthBytes: 2)
                if type == hostNameType { return String(decoding: name, as: UTF8.self) }
            }
        }
        return nil
    }
}
