internal import Linux
package import PortForward
internal import Ports
internal import ProcNet

/// Finds out which processes hold host ports, from /proc: the socket's inode, then the descriptors of every process
/// that this user may look into.
package struct PortHolderScan: Sendable {
    let root: String

    /// - Parameter root: where proc(5) is mounted.
    package init(root: String = "/proc") { self.root = root }

    /// Takes tens of milliseconds on a host with many processes, on a thread of its own; without one to be had, nobody is found.
    package func holders(of addresses: [HostAddress]) async -> [HostAddress: PortHolder] {
        (try? await DedicatedThread.run(name: "port-holders") { find(addresses) }) ?? [:]
    }

    /// As `holders`, on the calling thread.
    func find(_ addresses: [HostAddress]) -> [HostAddress: PortHolder] {
        guard let lowest = addresses.map(\.port).min(), let highest = addresses.map(\.port).max(),
            let range = PortRange(lowest, highest),
            let listeners = try? ProcNetReader(root: root).listeners(in: range)
        else { return [:] }
        let byPort = Dictionary(grouping: listeners, by: \.socket.port)
        var inodes: [UInt64: [HostAddress]] = [:]
        for address in addresses {
            for listener in byPort[address.port] ?? [] where Self.blocks(listener.socket, address) {
                inodes[listener.inode, default: []].append(address)
            }
        }
        var result: [HostAddress: PortHolder] = [:]
        guard !inodes.isEmpty else { return result }
        let processes = SocketHolders(root: root)
        for pid in processes.processes().reversed() {
            for socket in processes.sockets(of: pid) {
                for address in inodes[socket.inode] ?? [] where result[address] == nil {
                    let holder = processes.confirmed(pid: pid, descriptor: socket.descriptor)
                    result[address] = PortHolder(name: holder?.process.name ?? "a process", pid: pid)
                }
            }
        }
        return result
    }

    /// Whether a listener on the same port is what makes bind(2) fail: the same address, or a wildcard that covers it.
    private static func blocks(_ listener: ListeningSocket, _ wanted: HostAddress) -> Bool {
        listener.address == wanted.address || listener.address == .anyV6
            || listener.address.isV6 == wanted.address.isV6
                && (listener.address.isUnspecified || wanted.address.isUnspecified)
    }
}
