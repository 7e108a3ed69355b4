internal import Linux

/// A page of the router: what there is, or why a name leads nowhere.
///
/// It has neither scripts nor anything from elsewhere, and no other page may frame it. What a guest has given a name to is
/// shown as text.
package struct RouterPage: Hashable, Sendable {
    package let status: Int
    let title: String
    /// HTML.
    let body: String

    // MARK: What there is

    /// Something that is reached by name.
    package struct Service: Hashable, Sendable {
        /// What stands before the machine in its name.
        package var name: String
        /// Its port in the guest, and the program there, as far as known.
        package var port: UInt16
        package var process: String?
        /// Where the host has it too; empty where it has not.
        package var host: String
        /// Of its URL.
        package var scheme: String

        package init(name: String, port: UInt16, process: String?, host: String, scheme: String = "http") {
            self.name = name
            self.port = port
            self.process = process
            self.host = host
            self.scheme = scheme
        }

        /// Where a browser finds it by name.
        package func url(machine: String, router port: UInt16) -> String {
            ServiceName.url(of: name, machine: machine, router: port, scheme: scheme)
        }
    }

    /// Of one machine.
    package static func machine(_ name: String, _ services: [Service], router port: UInt16) -> RouterPage {
        RouterPage(status: 200, title: name, body: list(of: services, machine: name, router: port))
    }

    /// Of all machines.
    package static func machines(_ names: [String], router port: UInt16) -> RouterPage {
        RouterPage(status: 200, title: "Machines", body: list(of: names, router: port))
    }

    // MARK: What there is not

    /// For a name or port of a machine that nothing is forwarded as; lists what is. `asked` is the client's word, escaped here.
    package static func noService(
        _ asked: String, of machine: String, _ services: [Service], router port: UInt16
    ) -> RouterPage {
        let reason = "<p>Nothing is forwarded as <b>\(escaped(asked))</b> of \(escaped(machine)).</p>"
        return RouterPage(
            status: 404, title: "Not there",
            body: reason + list(of: services, machine: machine, router: port))
    }

    /// For a name that no machine has; lists the machines. `asked` is the client's word, escaped here.
    package static func noMachine(_ asked: String, _ names: [String], router port: UInt16) -> RouterPage {
        let reason =
            "<p>No machine of that name is forwarded: <b>\(escaped(asked)).localhost</b>. `rum list` shows all.</p>"
        return RouterPage(status: 404, title: "Not there", body: reason + list(of: names, router: port))
    }

    /// The machine's process takes nothing, or is gone in this moment.
    package static let busy = RouterPage(
        status: 503, title: "Busy",
        body: "<p>The process that forwards the machine's ports takes no client now.</p>")

    /// For a request without a host.
    package static let noHost = RouterPage(
        status: 400, title: "No host", body: "<p>The request names no host.</p>")

    /// For a host that is not under localhost; it tells nothing, since the page may be another site's.
    package static let notLocal = RouterPage(
        status: 421, title: "Not here",
        body: "<p>This is the router of rum. It knows names under <b>localhost</b> and no others.</p>")

    // MARK: As bytes

    /// The whole answer; to TLS an alert, since there is no certificate to answer with.
    package func bytes(for form: ClientRequest.Form) -> [UInt8] {
        switch form {
        case .http1(let wantsBody): Array((head + (wantsBody ? html : "")).utf8)
        case .http2(let stream): http2(stream)
        // A fatal alert: unrecognized_name (RFC 6066, 3).
        case .tls: [21, 3, 3, 0, 2, 2, 112]
        }
    }

    private var reason: String {
        switch status {
        case 200: "OK"
        case 400: "Bad Request"
        case 404: "Not Found"
        case 421: "Misdirected Request"
        default: "Service Unavailable"
        }
    }

    private static let contentType = "text/html; charset=utf-8"

    private var head: String {
        let fields = [
            "HTTP/1.1 \(status) \(reason)", "Content-Type: \(Self.contentType)",
            "Content-Length: \(html.utf8.count)", "Connection: close", "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ]
        return fields.joined(separator: "\r\n") + "\r\n\r\n"
    }

    /// Frames no larger, and together no more, than a client takes without being asked (RFC 9113, 6.5.2 and 6.9.2).
    private func http2(_ stream: UInt32) -> [UInt8] {
        // Fields without Huffman code and without a place in the table: indices of RFC 7541, appendix A.
        let type = Array(Self.contentType.utf8)
        let fields = [0x08, 3] + Array("\(status)".utf8) + [0x0f, 31 - 15, UInt8(type.count)] + type
        let text = Array(html.utf8.prefix(65_535))
        let headers = HTTP2.frame(.headers, flags: HTTP2.endsHeaders, stream: stream, fields)
        var bytes = HTTP2.emptySettings + headers
        for start in Swift.stride(from: 0, to: text.count, by: 16_384) {
            let end = min(text.count, start + 16_384)
            let flags = end == text.count ? HTTP2.endsStream : 0
            bytes += HTTP2.frame(.data, flags: flags, stream: stream, Array(text[start..<end]))
        }
        return bytes
    }

    private var html: String {
        """
        <!DOCTYPE html>
        <html lang="en"><head><meta charset="utf-8"><title>\(Self.escaped(title)) - rum</title>
        <style>body { font: 1em/1.6 sans-serif; margin: 2em } td, th { text-align: left; padding-right: 2em }</style></head>
        <body><h1>\(Self.escaped(title))</h1>
        \(body)
        </body></html>

        """
    }

    private static func list(of services: [Service], machine: String, router port: UInt16) -> String {
        if services.isEmpty { return "<p>Nothing of \(escaped(machine)) is forwarded now.</p>" }
        let rows = services.map { service in
            let url = service.url(machine: machine, router: port)
            let cells = [
                "<a href=\"\(escaped(url))\">\(escaped(url))</a>", "guest:\(service.port)",
                escaped(service.process ?? ""), escaped(service.host),
            ]
            return "<tr>" + cells.map { "<td>\($0)</td>" }.joined() + "</tr>"
        }
        let title = "<tr><th>Name</th><th>Guest</th><th>Program</th><th>Host</th></tr>"
        return "<table>\(title)\n" + rows.joined(separator: "\n") + "</table>"
    }

    private static func list(of machines: [String], router port: UInt16) -> String {
        if machines.isEmpty { return "<p>No machine is forwarded now.</p>" }
        let rows = machines.map { name in
            let url = ServiceName.url(of: nil, machine: name, router: port)
            return "<li><a href=\"\(escaped(url))\">\(escaped(url))</a></li>"
        }
        return "<ul>\n" + rows.joined(separator: "\n") + "</ul>"
    }

    private static func escaped(_ text: String) -> String {
        text.printable(limit: 300).reduce(into: "") { result, character in
            switch character {
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "&": result += "&amp;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            default: result.append(character)
            }
        }
    }
}
