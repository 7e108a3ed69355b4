package import Linux
internal import Ports

/// Where an agent can be reached, or listens; written `vsock:CID`, `unix:DIR`, `hybrid:PATH` or
/// `tcp:HOST[:PORT]`.
package enum AgentAddress: Hashable, Sendable {
    case vsock(cid: UInt32)
    /// `DIR/2222.sock` and `DIR/2223.sock`.
    case unix(directory: String)
    /// One unix socket that switches to a vsock port on `CONNECT <port>` (Firecracker, Cloud Hypervisor,
    /// vhost-user vsock).
    case hybrid(path: String)
    /// RPC on `port`, forwards on `port + 1`. An address, never a name: no resolver in the data path.
    case tcp(IPAddress, port: UInt16)

    package static let defaultTCPPort = UInt16(AgentPort.rpc.rawValue)

    /// Why a text is no agent address; `description` says what was expected.
    package struct ParseError: Error, Equatable, CustomStringConvertible {
        package let text: String
        package let expected: String
        package var description: String { "\"\(text)\" is not an agent address: expected \(expected)" }
    }

    /// Reads the written form.
    package init(text: String) throws(ParseError) {
        func fail(_ expected: String) -> ParseError { ParseError(text: text, expected: expected) }
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let rest = parts.count == 2 ? String(parts[1]) : ""
        switch parts[0] {
        case "vsock":
            // 0 to 2 name the hypervisor, the loopback and the host: no guest has them (vsock(7)).
            guard let cid = UInt32(rest), cid > 2, cid < UInt32.max else {
                throw fail("vsock:CID with a CID above 2")
            }
            self = .vsock(cid: cid)
        case "unix":
            guard !rest.isEmpty else { throw fail("unix:DIR") }
            self = .unix(directory: rest)
        case "hybrid":
            guard !rest.isEmpty else { throw fail("hybrid:PATH") }
            self = .hybrid(path: rest)
        case "tcp":
            guard let address = Self.parseTCP(rest) else {
                throw fail("tcp:HOST[:PORT], an address such as 127.0.0.1 or [::1] and a port below 65535")
            }
            self = address
        default:
            throw fail("vsock:CID, unix:DIR, hybrid:PATH or tcp:HOST[:PORT]")
        }
    }

    private static func parseTCP(_ text: String) -> AgentAddress? {
        if text == "localhost" { return .tcp(.loopbackV4, port: defaultTCPPort) }
        if text.hasPrefix("localhost:") { return parseTCP("127.0.0.1" + text.dropFirst("localhost".count)) }
        if let ip = IPAddress(text: text) { return .tcp(ip, port: defaultTCPPort) }
        guard let colon = text.lastIndex(of: ":") else {
            guard text.hasPrefix("["), text.hasSuffix("]") else { return nil }
            return IPAddress(text: text.dropFirst().dropLast()).map { .tcp($0, port: defaultTCPPort) }
        }
        var host = text[..<colon]
        let port = text[text.index(after: colon)...]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if text.hasPrefix("["), text.hasSuffix("]") {
            return IPAddress(text: text.dropFirst().dropLast()).map { .tcp($0, port: defaultTCPPort) }
        } else if host.contains(":") {
            return nil
        }
        guard let ip = IPAddress(text: host), let number = PortNumber(text: port), number < .highest else {
            return nil
        }
        return .tcp(ip, port: number.rawValue)
    }

    /// The socket to connect to for `port`; see `AgentOpening` for what is said on it.
    package func socketAddress(for port: AgentPort) -> SocketAddress {
        switch self {
        case .vsock(let cid): .vsock(cid: cid, port: port.rawValue)
        case .unix(let directory): .unix(path: "\(directory)/\(port.rawValue).sock")
        case .hybrid(let path): .unix(path: path)
        case .tcp(let ip, let first): .tcp(ip, port: first + UInt16(port.rawValue - AgentPort.rpc.rawValue))
        }
    }
}

extension AgentAddress: CustomStringConvertible {
    package var description: String {
        switch self {
        case .vsock(let cid): "vsock:\(cid)"
        case .unix(let directory): "unix:\(directory)"
        case .hybrid(let path): "hybrid:\(path)"
        case .tcp(let ip, let port): ip.isV6 ? "tcp:[\(ip)]:\(port)" : "tcp:\(ip):\(port)"
        }
    }
}
