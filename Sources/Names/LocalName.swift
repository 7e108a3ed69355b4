internal import Linux

/// A host under `localhost`, without its port: the labels before `.localhost`, in lower case; none for the host itself.
///
/// Only these names lead anywhere. Another site can have its own name lead to 127.0.0.1 (DNS rebinding), but not one of these:
/// browsers look them up nowhere, and they take no registration (RFC 6761, 6.3).
package struct LocalName: Hashable, Sendable {
    /// Such as `5173.dev`; empty for `localhost`, 127.0.0.1 and [::1].
    package let labels: String

    /// - Parameter host: as a client wrote it, with or without a port.
    package init?(host: String) {
        guard host.utf8.count <= 300 else { return nil }
        var name = host[...]
        if name.first == "[" {
            guard let end = name.firstIndex(of: "]") else { return nil }
            let address = name[name.index(after: name.startIndex)..<end]
            name = name[name.index(after: end)...]
            guard IPAddress(text: address) == .loopbackV6, Self.isPort(name) else { return nil }
            labels = ""
            return
        }
        if let colon = name.firstIndex(of: ":") {
            guard Self.isPort(name[colon...]) else { return nil }
            name = name[..<colon]
        }
        // As a name that is complete may be written.
        if name.last == "." { name.removeLast() }
        let lower = name.lowercased()
        if lower == "localhost" || lower == "127.0.0.1" {
            labels = ""
        } else if lower.hasSuffix(".localhost"), lower.utf8.count > 10 {
            labels = String(lower.dropLast(10))
        } else {
            return nil
        }
    }

    private static func isPort(_ text: Substring) -> Bool {
        text.isEmpty || text.first == ":" && text.dropFirst().utf8.allSatisfy(\.isASCIIDigit)
    }
}

/// The names that a service and a machine have.
package enum ServiceName {
    /// A machine's part of a host's name.
    package static func machine(_ name: String) -> String { name.lowercased() }

    /// `http://5173.dev.localhost:7000/`; without the port where it is the scheme's own.
    ///
    /// - Parameter service: a guest port or a label; nil for the machine's page.
    package static func url(
        of service: String?, machine: String, router port: UInt16, scheme: String = "http"
    ) -> String {
        let prefix = service.map { "\($0)." } ?? ""
        let isUsual = port == (scheme == "https" ? 443 : 80)
        return "\(scheme)://\(prefix)\(self.machine(machine)).localhost\(isUsual ? "" : ":\(port)")/"
    }
}
