/// What the first bytes of a client say about where it wants to go. They may be anything.
package enum ClientOpening: Hashable, Sendable {
    /// More of them are needed.
    case incomplete
    /// An HTTP/2 client that waits for the server's settings before it says where it wants to go; gRPC's do.
    case wantsSettings
    case request(ClientRequest)
    /// Neither HTTP nor TLS.
    case foreign

    /// - Parameters:
    ///   - bytes: all that has come.
    ///   - hasSettings: `HTTP2.emptySettings` was sent to the client.
    ///   - authority: reads a header block of HTTP/2 (RFC 7541) and returns its `:authority` or `host`.
    package init(
        _ bytes: [UInt8], hasSettings: Bool = false, authority: (ArraySlice<UInt8>) -> String?
    ) {
        guard let first = bytes.first else {
            self = .incomplete
            return
        }
        if first == ClientHello.recordType {
            self = ClientHello.opening(bytes)
        } else if bytes.starts(with: HTTP2.preface) {
            self = HTTP2.opening(bytes, hasSettings: hasSettings, authority: authority)
        } else if HTTP2.preface.starts(with: bytes) {
            self = .incomplete
        } else {
            self = RequestHead.opening(bytes)
        }
    }
}

/// What a client asks for.
package struct ClientRequest: Hashable, Sendable {
    /// How it speaks, and so how it can be answered.
    package enum Form: Hashable, Sendable {
        /// - Parameter wantsBody: not for HEAD.
        case http1(wantsBody: Bool)
        /// HTTP/2 without TLS, by prior knowledge.
        case http2(stream: UInt32)
        case tls
    }

    package var form: Form
    /// The name with a port, if it has one, as the client wrote it; nil when it gave none.
    package var host: String?
    /// Where in the bytes the client acknowledges `HTTP2.emptySettings`; the server, which has not sent them, must not see it.
    package var acknowledgement: Range<Int>?

    package init(form: Form, host: String?, acknowledgement: Range<Int>? = nil) {
        self.form = form
        self.host = host
        self.acknowledgement = acknowledgement
    }
}
