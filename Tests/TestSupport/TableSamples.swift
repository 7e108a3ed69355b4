package import Linux
package import Ports

/// A port number that is known to be one.
package func port(_ number: UInt16) -> PortNumber {
    guard let port = PortNumber(number) else { preconditionFailure("port 0") }
    return port
}

/// A table in which these ports listen.
package func table(
    _ ports: some Sequence<UInt16>, address: IPAddress = .anyV4, listenedAt: UInt64? = nil
) -> ListenTable {
    ListenTable(
        revision: 1, source: ListenSource(mode: .netlink, push: .tracepoint),
        listeners: ports.map {
            ListeningSocket(
                address: address, port: port($0), process: ListeningProcess(pid: 812, name: "python3"),
                listenedAt: listenedAt)
        })
}
