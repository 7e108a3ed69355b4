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

    package init(root: String = "/proc") { self.root = root }

    /// Tries the descriptors 0 to `limit - 1` of one process, each by name: a server's first listener has a small
    /// number, and reading the directory would cost more than the links. The standard three, which few servers listen on,
    /// come last.
    package func holder(of inode: UInt64, pid: Int32, limit: Int32) -> SocketHolder? {
        let others = min(3, limit)
        let descriptor =
            (others..<limit).first { holds(inode, pid: pid, descriptor: $0) }
            ?? (0..<others).first { holds(inode, pid: pid, descriptor: $0) }
        return descriptor.flatMap { confirmed(pid: pid, descriptor: $0) }
    }

    /// Whether the process still has the socket behind the same descriptor number.
    package func stillHolds(_ holder: SocketHolder, inode: UInt64) -> Bool {
        holds(inode, pid: holder.process.pid, descriptor: holder.descriptor)
    }

    /// The socket inodes of a process's descriptors, of the first `limit` ones; empty when it is gone or closed to us.
    package func sockets(of pid: Int32, limit: Int = .max) -> [(inode: UInt64, descriptor: Int32)] {
        numbers(in: "\(root)/\(pid)/fd", limit: limit).compactMap { descriptor in
            inode(pid: pid, descriptor: descriptor).map { ($0, descriptor) }
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

    /// The number in `socket:[number]`, nil for anything else.
    private func inode(pid: Int32, descriptor: Int32) -> UInt64? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
            guard let start = buffer.baseAddress else { return nil }
            let length = readlink("\(root)/\(pid)/fd/\(descriptor)", start, buffer.count)
            let prefix: StaticString = "socket:["
            guard length > prefix.utf8CodeUnitCount + 1 else { return nil }
            let target = UnsafeRawBufferPointer(buffer)[..<length]
            let text = prefix.withUTF8Buffer { target.starts(with: $0) }
            guard text, target.last == UInt8(ascii: "]") else { return nil }
            var number: UInt64 = 0
            for byte in target.dropFirst(prefix.utf8CodeUnitCount).dropLast() {
                guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
                number = number &* 10 &+ UInt64(byte - UInt8(ascii: "0"))
            }
            return number
        }
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

    private func numbers(in directory: String, limit: Int = .max) -> [Int32] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var numbers: [Int32] = []
        while numbers.count < limit, let entry = readdir(stream) {
            let number = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { Int32(String(cString: $0)) }
            }
            if let number { numbers.append(number) }
        }
        return numbers
    }
}
