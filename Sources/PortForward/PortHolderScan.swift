internal import Glibc
internal import ListenTable
internal import ProcNet
internal import Sockets

/// Finds out which processes hold host ports, from /proc: the socket's inode, then the descriptors of every process
/// that this user may look into.
struct PortHolderScan: Sendable {
    let root: String

    init(root: String = "/proc") { self.root = root }

    /// Takes tens of milliseconds on a host with many processes, on a thread of its own.
    func holders(of addresses: [HostAddress]) async -> [HostAddress: PortHolder] {
        await withCheckedContinuation { continuation in
            do {
                try DedicatedThread.start(name: "port-holders") {
                    continuation.resume(returning: find(addresses))
                }
            } catch {
                continuation.resume(returning: [:])
            }
        }
    }

    /// As `holders`, on the calling thread.
    func find(_ addresses: [HostAddress]) -> [HostAddress: PortHolder] {
        guard let lowest = addresses.map(\.port).min(), let highest = addresses.map(\.port).max(),
            let range = PortRange(lowest, highest),
            let listeners = try? ProcNetReader(root: root).listeners(in: range)
        else { return [:] }
        var inodes: [UInt64: [HostAddress]] = [:]
        for address in addresses {
            for listener in listeners where Self.blocks(listener.socket, address) {
                inodes[listener.inode, default: []].append(address)
            }
        }
        var result: [HostAddress: PortHolder] = [:]
        guard !inodes.isEmpty else { return result }
        for pid in entries(root).compactMap({ Int32($0) }).sorted() {
            for inode in sockets(of: pid) {
                for address in inodes[inode] ?? [] where result[address] == nil {
                    result[address] = PortHolder(name: name(of: pid), pid: pid)
                }
            }
        }
        return result
    }

    /// Whether a listener is what makes bind(2) fail: the same address, or a wildcard that covers it.
    private static func blocks(_ listener: ListeningSocket, _ wanted: HostAddress) -> Bool {
        guard listener.port == wanted.port else { return false }
        return listener.address == wanted.address || listener.address == .anyV6
            || listener.address.isV6 == wanted.address.isV6
                && (listener.address.isUnspecified || wanted.address.isUnspecified)
    }

    private func sockets(of pid: Int32) -> [UInt64] {
        let directory = "\(root)/\(pid)/fd"
        return entries(directory).compactMap { entry in
            var buffer = [CChar](repeating: 0, count: 64)
            let count = readlink("\(directory)/\(entry)", &buffer, buffer.count)
            guard count > 0 else { return nil }
            let text = String(decoding: buffer[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
            guard text.hasPrefix("socket:["), text.hasSuffix("]") else { return nil }
            return UInt64(text.dropFirst("socket:[".count).dropLast())
        }
    }

    private func name(of pid: Int32) -> String {
        let number = open("\(root)/\(pid)/comm", O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { return "a process" }
        let file = OwnedDescriptor(owning: number)
        var buffer = [UInt8](repeating: 0, count: 32)
        let count = read(file.rawValue, &buffer, buffer.count)
        return String(decoding: buffer[..<max(0, count)].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }

    /// The names in a directory; none when it can't be read.
    private func entries(_ path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            names.append(
                withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                })
        }
        return names
    }
}
