internal import CLinux
internal import Glibc
internal import Linux

/// A pipe that splice(2) moves bytes through, owned by one direction at a time.
final class RelayPipe {
    let reader: OwnedDescriptor
    let writer: OwnedDescriptor
    let capacity: Int
    /// Bytes inside.
    var count = 0

    init(size: Int) throws(SystemError) {
        var ends: [Int32] = [-1, -1]
        _ = try SystemError.check("pipe2", clinux_pipe(&ends))
        reader = OwnedDescriptor(owning: ends[0])
        writer = OwnedDescriptor(owning: ends[1])
        // Refused above pipe-user-pages-soft: the pipe then keeps the size it has.
        let got = clinux_set_pipe_size(ends[1], Int32(size))
        capacity = got > 0 ? Int(got) : 64 << 10
    }

    /// Takes bytes out.
    func read(into memory: UnsafeMutableRawBufferPointer) -> Transfer {
        let fd = reader.rawValue
        let result = Transfer { Glibc.read(fd, memory.baseAddress, memory.count) }
        if case .moved(let taken) = result { count -= taken }
        return result
    }
}

/// The pipes of one loop: at most `limit`, none while the loop has no connections.
struct PipePool {
    let limit: Int
    let pipeSize: Int
    private(set) var lent = 0
    private var idle: [RelayPipe] = []

    init(limit: Int, pipeSize: Int) {
        self.limit = limit
        self.pipeSize = pipeSize
    }

    /// An empty pipe; nil at the limit, or when the kernel has none.
    mutating func take() -> RelayPipe? {
        guard lent < limit, let pipe = idle.popLast() ?? (try? RelayPipe(size: pipeSize)) else { return nil }
        lent += 1
        return pipe
    }

    /// Takes a pipe back; one that still holds bytes is closed.
    mutating func give(_ pipe: RelayPipe) {
        lent -= 1
        if pipe.count == 0 { idle.append(pipe) }
    }

    mutating func closeIdle() {
        guard !idle.isEmpty else { return }
        idle = []
    }
}
