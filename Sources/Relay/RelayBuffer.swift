/// Memory that bytes are copied through, owned by one direction at a time.
final class RelayBuffer {
    let memory: UnsafeMutableRawBufferPointer
    private(set) var start = 0
    private(set) var end = 0

    init(size: Int) {
        memory = .allocate(byteCount: size, alignment: 64)
    }

    deinit { memory.deallocate() }

    var count: Int { end - start }
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory[start..<end]) }

    /// Makes the first `count` bytes of `memory` the content.
    func fill(_ count: Int) {
        start = 0
        end = count
    }

    func consume(_ count: Int) { start += count }
}

/// The buffers of one loop: at most `limit` lent, a few kept for reuse.
struct BufferPool {
    static let kept = 2

    let limit: Int
    let bufferSize: Int
    private(set) var lent = 0
    private var idle: [RelayBuffer] = []

    init(limit: Int, bufferSize: Int) {
        self.limit = limit
        self.bufferSize = bufferSize
    }

    mutating func take() -> RelayBuffer? {
        guard lent < limit else { return nil }
        lent += 1
        return idle.popLast() ?? RelayBuffer(size: bufferSize)
    }

    mutating func give(_ buffer: RelayBuffer) {
        lent -= 1
        guard idle.count < Self.kept else { return }
        buffer.fill(0)
        idle.append(buffer)
    }
}
