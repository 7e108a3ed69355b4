internal import Glibc
internal import Linux
package import Ports

/// A process and the descriptor through which it holds a socket.
package struct SocketHolder: Hashable, Sendable {
    package var process: ListeningProcess
    package var descriptor: Int32
}

/// Looks into `/proc/PID/fd`: the proof that a process holds a socket (proc(5)).
package struct SocketHolders: Sendable {
    /// The directory of processes, usually `/proc`.
    private let root: String
    /// So many descriptors are as quickly tried one by one.
    private static let few: Int32 = 16
    /// At the end of the numbers in use; a server may open a few files right behind its listener.
    private static let newestTried: Int32 = 8

    package init(root: String = "/proc") { self.root = root }

    /// Looks where a listener's descriptor most often is, by reading few links and no directory: among the numbers 0 to
    /// `limit - 1`, the standard three last; in a process with many at the end of the numbers in use first. The kernel gives a
    /// descriptor the lowest free number (open(2)), so the newest are most often there.
    package func holder(of inode: UInt64, pid: Int32, limit: Int32) -> SocketHolder? {
        let others = min(3, limit)
        func holds(_ descriptor: Int32) -> Bool { self.holds(inode, pid: pid, descriptor: descriptor) }
        let descriptor =
            newest(of: pid)?.first(where: holds) ?? (others..<limit).first(where: holds)
            ?? (0..<others).first(where: holds)
        return descriptor.flatMap { confirmed(pid: pid, descriptor: $0) }
    }

    /// The last descriptors before one that is free, newest first, looked for by halving; nil for a process with few.
    private func newest(of pid: Int32) -> ReversedCollection<Range<Int32>>? {
        var (used, free) = (Self.few, Self.few)
        while link(pid: pid, descriptor: free) != .none {
            // fs.nr_open is 2^20 unless it was raised.
            guard free < 1 << 24 else { return nil }
            (used, free) = (free, free * 2)
        }
        guard free > Self.few else { return nil }
        while free - used > 1 {
            let middle = used + (free - used) / 2
            if link(pid: pid, descriptor: middle) == .none { free = middle } else { used = middle }
        }
        return (free - Self.newestTried..<free).reversed()
    }

    /// Whether the process still has the socket behind the same descriptor number.
    package func stillHolds(_ holder: SocketHolder, inode: UInt64) -> Bool {
        holds(inode, pid: holder.process.pid, descriptor: holder.descriptor)
    }

    /// The socket inodes of a process's descriptors, the newest most often first; empty when it is gone or closed to us. Each
    /// is read as it is asked for.
    package func sockets(of pid: Int32) -> some Sequence<(inode: UInt64, descriptor: Int32)> {
        numbers(in: "\(root)/\(pid)/fd").reversed().lazy.compactMap { descriptor in
            inode(pid: pid, descriptor: descriptor).map { (inode: $0, descriptor: descriptor) }
        }
    }

    /// All process ids, newest first where ids grow.
    package func processes() -> [Int32] { numbers(in: root).sorted(by: >) }

    /// The holder with its name, nil when the process went away meanwhile.
    package func confirmed(pid: Int32, descriptor: Int32) -> SocketHolder? {
        guard let name = name(of: pid) else { return nil }
        return SocketHolder(process: ListeningProcess(pid: pid, name: name), descriptor: descriptor)
    }

    private func holds(_ inode: UInt64, pid: Int32, descriptor: Int32) -> Bool {
        inode != 0 && self.inode(pid: pid, descriptor: descriptor) == inode
    }

    private func inode(pid: Int32, descriptor: Int32) -> UInt64? {
        if case .socket(let inode) = link(pid: pid, descriptor: descriptor) { inode } else { nil }
    }

    /// What a descriptor leads to.
    private enum Link: Equatable {
        /// No such descriptor, or it is closed to us.
        case none
        case other
        case socket(_ inode: UInt64)
    }

    private func link(pid: Int32, descriptor: Int32) -> Link {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
            guard let start = buffer.baseAddress else { return .none }
            let length = readlink("\(root)/\(pid)/fd/\(descriptor)", start, buffer.count)
            guard length >= 0 else { return .none }
            return Self.socket(in: UnsafeRawBufferPointer(buffer)[..<length]).map(Link.socket) ?? .other
        }
    }

    /// The number in `socket:[number]`, nil for anything else.
    private static func socket(in target: Slice<UnsafeRawBufferPointer>) -> UInt64? {
        let prefix: StaticString = "socket:["
        guard target.count > prefix.utf8CodeUnitCount + 1, target.last == UInt8(ascii: "]"),
            prefix.withUTF8Buffer({ target.starts(with: $0) })
        else { return nil }
        var number: UInt64 = 0
        for byte in target.dropFirst(prefix.utf8CodeUnitCount).dropLast() {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            number = number &* 10 &+ UInt64(byte - UInt8(ascii: "0"))
        }
        return number
    }

    private func name(of pid: Int32) -> String? {
        let number = open("\(root)/\(pid)/comm", O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { return nil }
        let file = OwnedDescriptor(owning: number)
        return withUnsafeTemporaryAllocation(byteCount: 64, alignment: 1) { buffer in
            let count = read(file.rawValue, buffer.baseAddress, buffer.count)
            guard count > 0 else { return nil }
            return String(decoding: buffer[..<count].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        }
    }

    private func numbers(in directory: String) -> [Int32] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var numbers: [Int32] = []
        while let entry = readdir(stream) {
            let number = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { Int32(String(cString: $0)) }
            }
            if let number { numbers.append(number) }
        }
        return numbers
    }
}
