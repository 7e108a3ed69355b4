internal import FoundationEssentials
internal import Linux
package import Ports

extension ListenTable {
    /// Reads a message. Listeners with an impossible port or address, which no agent sends, are left out; a port
    /// without a listener counts as one on all addresses.
    package init(_ message: Rum_V1_ListeningPortsResponse) {
        var listeners = message.listeners.compactMap(ListeningSocket.init)
        let described = Set(message.listeners.map(\.port))
        listeners += message.ports.filter { !described.contains($0) }.compactMap {
            UInt16(exactly: $0).flatMap(PortNumber.init).map { ListeningSocket(address: .anyV4, port: $0) }
        }
        let details = Dictionary(message.processes.map { ($0.pid, ProcessDetails($0)) }) { $1 }
        for index in listeners.indices {
            guard let process = listeners[index].process else { continue }
            listeners[index].process?.details = details[process.pid]
        }
        self.init(
            revision: message.revision,
            source: ListenSource(mode: message.mode, push: message.push, degraded: message.degraded),
            listeners: listeners)
    }

    package var message: Rum_V1_ListeningPortsResponse {
        var message = Rum_V1_ListeningPortsResponse()
        message.ports = ports.map { UInt32($0.rawValue) }
        message.listeners = listeners.map(\.message)
        message.revision = revision
        message.mode = source.mode.rawValue
        message.push = source.push.rawValue
        message.degraded = source.degraded ?? ""
        var described: Set<Int32> = []
        for process in listeners.compactMap(\.process) {
            guard let details = process.details, described.insert(process.pid).inserted else { continue }
            message.processes.append(details.message(of: process.pid))
        }
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
        guard let port = UInt16(exactly: message.port).flatMap(PortNumber.init),
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
        guard let lower = UInt16(exactly: message.min).flatMap(PortNumber.init),
            let upper = UInt16(exactly: message.max).flatMap(PortNumber.init)
        else { return nil }
        self.init(lower, upper)
    }

    package func request(describingProcesses: Bool = false) -> Rum_V1_ListeningPortsRequest {
        var message = Rum_V1_ListeningPortsRequest()
        message.min = UInt32(lower.rawValue)
        message.max = UInt32(upper.rawValue)
        message.describeProcesses = describingProcesses
        return message
    }
}
