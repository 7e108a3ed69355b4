/// Memory that bytes are copied through, owned by one direction at a time.
final class RelayBuffer {
    let memory: UnsafeMutableRawBufferPointer
    /// Belongs to a `BufferPool`, and goes back there.
    let isPooled: Bool
    /// Holds bytes of the stream without the headers of their records, although its source speaks in records.
    var isBare = false
    private(set) var start = 0
    private(set) var end = 0

    init(size: Int, isPooled: Bool = true) {
        memory = .allocate(byteCount: size, alignment: 64)
        self.isPooled = isPooled
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
    let spillLimit: Int
    private(set) var lent = 0
    private var idle: [RelayBuffer] = []
    /// Bytes of the buffers that were made for flows that had to give theirs, or their pipes, away.
    private(set) var spilled = 0

    init(limit: Int, bufferSize: Int, spillLimit: Int) {
        self.limit = limit
        self.spillLimit = spillLimit
        self.bufferSize = bufferSize
    }

    /// A buffer of just this size for what a flow holds that waits for a slow reader; nil when such flows hold enough.
    mutating func spill(_ count: Int) -> RelayBuffer? {
        guard spilled + count <= spillLimit else { return nil }
        spilled += count
        return RelayBuffer(size: count, isPooled: false)
    }

    /// Whether `take` gives one.
    var hasRoom: Bool { lent < limit }

    mutating func take() -> RelayBuffer? {
        guard lent < limit else { return nil }
        lent += 1
        return idle.popLast() ?? RelayBuffer(size: bufferSize)
    }

    mutating func give(_ buffer: RelayBuffer) {
        guard buffer.isPooled else {
            spilled -= buffer.memory.count
            return
        }
        lent -= 1
        guard idle.count < Self.kept else { return }
        buffer.fill(0)
        idle.append(buffer)
    }
}
