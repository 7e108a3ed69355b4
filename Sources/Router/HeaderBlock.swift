internal import NIOCore
internal import NIOHPACK

/// The first header block of an HTTP/2 connection (RFC 7541), before which nothing is in the client's table.
enum HeaderBlock {
    /// Its `:authority`, else its `host`; nil when it has neither or can't be read.
    static func authority(_ block: ArraySlice<UInt8>) -> String? {
        var decoder = HPACKDecoder(allocator: ByteBufferAllocator())
        var buffer = ByteBuffer(bytes: block)
        guard let fields = try? decoder.decodeHeaders(from: &buffer) else { return nil }
        return fields.first(name: ":authority") ?? fields.first(name: "host")
    }
}
