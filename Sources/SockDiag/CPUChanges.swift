internal import CNetlink
internal import Glibc
package import Linux

/// The kernel's news of CPUs that went on or off (NETLINK_KOBJECT_UEVENT, group 1).
///
/// They reach the network namespaces of the first user namespace only, so not those of unprivileged containers.
package final class CPUChanges {
    private let socket: NetlinkSocket
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 8 << 10, alignment: 8)

    package init() throws(SystemError) {
        socket = try NetlinkSocket(bus: NETLINK_KOBJECT_UEVENT, groups: [1])
    }

    deinit { buffer.deallocate() }

    /// Readable when there is something to read; valid while this object lives.
    package var descriptor: Int32 { socket.descriptor }

    /// What has happened since the last call.
    package func read() -> News {
        var news = News()
        while true {
            do throws(SystemError) {
                let count = try socket.receive(into: buffer)
                if let cpu = Self.cpu(in: buffer[..<count]) { news.cpus.insert(cpu) }
            } catch {
                // EAGAIN: all has been read. Anything else is dropped news, such as ENOBUFS.
                if error.code != EAGAIN { news.areIncomplete = true }
                return news
            }
        }
    }

    /// What has come since the last question.
    package struct News: Hashable, Sendable {
        /// The CPUs that went on or off, or both.
        package var cpus: Set<Int32> = []
        /// Others may have done so as well.
        package var areIncomplete = false

        package var isEmpty: Bool { cpus.isEmpty && !areIncomplete }
    }

    /// The CPU of a message such as `online@/devices/system/cpu/cpu1`, ended by a zero byte; nil for any other.
    package static func cpu(in message: some Sequence<UInt8>) -> Int32? {
        let text = String(decoding: message.prefix { $0 != 0 }, as: UTF8.self)
        let parts = text.split(separator: "@", maxSplits: 1)
        guard parts.count == 2, parts[0] == "online" || parts[0] == "offline" else { return nil }
        let path = "/devices/system/cpu/cpu"
        return parts[1].hasPrefix(path) ? Int32(parts[1].dropFirst(path.count)) : nil
    }
}
