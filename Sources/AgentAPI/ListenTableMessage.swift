internal import FoundationEssentials
internal import Linux
package import Ports

extension ListenTable {
    /// Reads a message. Listeners with an impossible port or address, which no agent sends, are left out; a port
    /// without a listener counts as one on all addresses.
    package init(_ message: Rum_V1_ListeningPortsResponse) {
        self.init(
            revision: message.revision,
            source: ListenSource(mode: message.mode, push: message.push, degraded: message.degraded),
            rows: message.listeners.map { Row(port: $0.port, listener: ListeningSocket($0)) },
            ports: message.ports,
            details: Dictionary(message.processes.map { ($0.pid, ProcessDetails($0)) }) { $1 })
    }

    /// One of a message's listeners.
    struct Row {
        var port: UInt32
        /// nil when it has an impossible port or address.
        var listener: ListeningSocket?
    }

    /// Puts the parts of a message together.
    init(
        revision: UInt64, source: ListenSource, rows: [Row], ports: [UInt32], details: [Int32: ProcessDetails]
    ) {
        var listeners = rows.compactMap(\.listener)
        let described = Set(rows.map(\.port))
        for port in ports where !described.contains(port) {
            guard let port = PortNumber(exactly: Int(port)) else { continue }
            listeners.append(ListeningSocket(address: .anyV4, port: port))
        }
        if !details.isEmpty {
            for index in listeners.indices {
                guard let process = listeners[index].process else { continue }
                listeners[index].process?.details = details[process.pid]
            }
        }
        self.init(revision: revision, source: source, listeners: listeners)
    }

    package var message: Rum_V1_ListeningPortsResponse {
        var message = Rum_V1_ListeningPortsResponse()
        message.ports = ports.map { UInt32($0.rawValue) }
        message.listeners = listeners.map(\.message)
        message.revision = revision
        message.mode = source.mode.rawValue
        message.push = source.push.rawValue
        message.degraded = source.degraded ?? ""
        message.processes = described.map { $0.details.message(of: $0.pid) }
        return message
    }
}

extension ProcessDetails {
    init(_ message: Rum_V1_ProcessDetails) {
        self.init(
            command: message.command, container: message.container.isEmpty ? nil : message.container)
    }

    func message(of pid: Int32) -> Rum_V1_ProcessDetails {
        var message = Rum_V1_ProcessDetails()
        message.pid = pid
        message.command = command
        message.container = container ?? ""
        return message
    }
}

extension ListeningSocket {
    package init?(_ message: Rum_V1_Listener) {
        guard let port = PortNumber(exactly: Int(message.port)),
            let address = IPAddress(networkBytes: message.address)
        else { return nil }
        self.init(
            address: address, port: port, ipv6Only: message.ipv6Only, interfaceIndex: message.ifindex,
            process: message.pid > 0 ? ListeningProcess(pid: message.pid, name: message.process) : nil,
            listenedAt: message.listenedAtNs == 0 ? nil : message.listenedAtNs)
    }

    package var message: Rum_V1_Listener {
        var message = Rum_V1_Listener()
        message.address = Data(address.networkBytes)
        message.port = UInt32(port.rawValue)
        message.ipv6Only = ipv6Only
        message.ifindex = interfaceIndex
        if let process {
            message.pid = process.pid
            message.process = process.name
        }
        message.listenedAtNs = listenedAt ?? 0
        return message
    }
}

extension PortRange {
    /// Reads the bounds of a request; nil unless 1 <= min <= max <= 65535.
    package init?(_ message: Rum_V1_ListeningPortsRequest) {
        guard let lower = PortNumber(exactly: Int(message.min)),
            let upper = PortNumber(exactly: Int(message.max))
        else { return nil }
        self.init(lower, upper)
    }

    /// The request for the part of the table in this range; with the command lines and containers of its processes if asked.
    package func request(describingProcesses: Bool = false) -> Rum_V1_ListeningPortsRequest {
        var message = Rum_V1_ListeningPortsRequest()
        message.min = UInt32(lower.rawValue)
        message.max = UInt32(upper.rawValue)
        message.describeProcesses = describingProcesses
        return message
    }
}
