/// The beginning of an HTTP/2 connection without TLS (RFC 9113).
package enum HTTP2 {
    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    /// A SETTINGS frame that sets nothing: what a server may begin with, and what some clients wait for.
    package static let emptySettings = frame(.settings, flags: 0, stream: 0, [])

    enum FrameType: Int {
        case data = 0
        case headers = 1
        case settings = 4
        case continuation = 9
    }

    private static let headerSize = 9
    /// Of SETTINGS.
    private static let acknowledges = 0x1
    /// Of HEADERS, CONTINUATION and DATA.
    static let endsHeaders = 0x4
    static let endsStream = 0x1
    private static let isPadded = 0x8
    private static let hasPriority = 0x20

    static func frame(_ type: FrameType, flags: Int, stream: UInt32, _ payload: [UInt8]) -> [UInt8] {
        let length = payload.count
        let header = [length >> 16, length >> 8, length, type.rawValue, flags].map {
            UInt8(truncatingIfNeeded: $0)
        }
        return header + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: stream >> UInt32($0)) } + payload
    }

    /// What has been found in the frames so far.
    private struct Found {
        var stream: UInt32 = 0
        /// The pieces of the first request's header block.
        var block: [UInt8] = []
        var isInBlock = false
        var hasBlock = false
        var acknowledgement: Range<Int>?
    }

    static func opening(
        _ bytes: [UInt8], hasSettings: Bool, authority: (ArraySlice<UInt8>) -> String?
    ) -> ClientOpening {
        var found = Found()
        var place = preface.count
        var isFirst = true
        while place + headerSize <= bytes.count {
            var header = ByteReader(bytes[place..<(place + headerSize)])
            guard let length = try? header.number(bytes: 3), let type = try? header.number(bytes: 1),
                let flags = try? header.number(bytes: 1), let stream = try? header.number(bytes: 4)
            else { return .foreign }
            // A client begins with its settings (RFC 9113, 3.4).
            if isFirst, type != FrameType.settings.rawValue { return .foreign }
            let end = place + headerSize + length
            guard end <= bytes.count else { return .incomplete }
            let payload = bytes[(place + headerSize)..<end]
            guard take(&found, FrameType(rawValue: type), flags, stream, payload, at: place..<end) else {
                return .foreign
            }
            if found.hasBlock, !hasSettings || found.acknowledgement != nil {
                let form = ClientRequest.Form.http2(stream: found.stream)
                return .request(
                    ClientRequest(
                        form: form, host: authority(found.block[...]),
                        acknowledgement: found.acknowledgement))
            }
            isFirst = false
            place = end
        }
        // Between two frames, with the settings said and no request.
        let waits = !hasSettings && !isFirst && place == bytes.count && !found.isInBlock
        return waits ? .wantsSettings : .incomplete
    }

    /// Takes one frame; false when it can't stand there.
    private static func take(
        _ found: inout Found, _ type: FrameType?, _ flags: Int, _ stream: Int, _ payload: ArraySlice<UInt8>,
        at place: Range<Int>
    ) -> Bool {
        if found.isInBlock, type != .continuation { return false }
        switch type {
        case .settings:
            if flags & acknowledges != 0, found.acknowledgement == nil { found.acknowledgement = place }
        case .headers where !found.hasBlock:
            var fields = ByteReader(payload)
            do throws(ByteReader.Short) {
                let padding = flags & isPadded != 0 ? try fields.number(bytes: 1) : 0
                if flags & hasPriority != 0 { _ = try fields.take(5) }
                found.block += try fields.take(fields.count - padding)
            } catch {
                return false
            }
            found.stream = UInt32(stream & 0x7fff_ffff)
            (found.isInBlock, found.hasBlock) = (flags & endsHeaders == 0, flags & endsHeaders != 0)
        case .continuation where found.isInBlock:
            found.block += payload
            (found.isInBlock, found.hasBlock) = (flags & endsHeaders == 0, flags & endsHeaders != 0)
        case .continuation: return false
        case .data where !found.hasBlock: return false
        default: break
        }
        return true
    }
}
