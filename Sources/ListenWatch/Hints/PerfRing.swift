internal import CLinux
internal import Glibc
internal import Linux

/// One CPU's ring of tracepoint records, shared with the kernel (perf_event_open(2), mmap layout).
final class PerfRing {
    /// A power of two of pages; some 580 of our records.
    private static let dataSize = 64 << 10

    let cpu: Int32
    private let event: OwnedDescriptor
    private let mapping: UnsafeMutableRawPointer
    private let pageSize: Int

    /// Opens and starts the event on one CPU.
    init(tracepoint: UInt64, filter: String, cpu: Int32) throws(SystemError) {
        self.cpu = cpu
        event = OwnedDescriptor(
            owning: try SystemError.check("perf_event_open", clinux_perf_open(tracepoint, cpu)))
        pageSize = sysconf(Int32(_SC_PAGESIZE))
        let mapped = mmap(
            nil, pageSize + Self.dataSize, PROT_READ | PROT_WRITE, MAP_SHARED, event.rawValue, 0)
        guard let mapped, mapped != MAP_FAILED else { throw .current("mmap of the perf ring") }
        mapping = mapped
        _ = try SystemError.check("perf filter", clinux_perf_set_filter(event.rawValue, filter))
        _ = try SystemError.check("perf enable", clinux_perf_enable(event.rawValue))
    }

    deinit { munmap(mapping, pageSize + Self.dataSize) }

    var descriptor: Int32 { event.rawValue }

    /// Hands every record to `body` (type, bytes behind the header) and frees its place.
    ///
    /// Returns whether the ring was more than half full: a record that finds no room is dropped, and the kernel
    /// says so only in front of the next one, so only a nearly full ring can have lost its tail.
    func drain(_ body: (UInt32, UnsafeRawBufferPointer) -> Void) -> Bool {
        let page = mapping.assumingMemoryBound(to: perf_event_mmap_page.self)
        let data = UnsafeRawBufferPointer(start: mapping + pageSize, count: Self.dataSize)
        let head = clinux_perf_head(page)
        var tail = page.pointee.data_tail
        let used = head &- tail
        while tail != head {
            let start = Int(tail & UInt64(Self.dataSize - 1))
            // Records are multiples of 8 bytes, so a header never wraps.
            let header = data.load(fromByteOffset: start, as: perf_event_header.self)
            let size = Int(header.size)
            guard size >= MemoryLayout<perf_event_header>.size, UInt64(size) <= head &- tail else { break }
            let bodySize = size - MemoryLayout<perf_event_header>.size
            let bodyStart = start + MemoryLayout<perf_event_header>.size
            if bodyStart + bodySize <= Self.dataSize {
                body(header.type, UnsafeRawBufferPointer(rebasing: data[bodyStart..<bodyStart + bodySize]))
            } else {
                withUnsafeTemporaryAllocation(byteCount: bodySize, alignment: 8) { copy in
                    for offset in 0..<bodySize { copy[offset] = data[(bodyStart + offset) % Self.dataSize] }
                    body(header.type, UnsafeRawBufferPointer(copy))
                }
            }
            tail &+= UInt64(size)
        }
        clinux_perf_set_tail(page, head)
        return used > UInt64(Self.dataSize / 2)
    }
}
