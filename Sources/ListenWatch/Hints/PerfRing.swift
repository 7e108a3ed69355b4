internal import CLinux
internal import Glibc
package import Linux

/// One CPU's ring of records, shared with the kernel (perf_event_open(2), mmap layout).
package final class PerfRing {
    /// What writes into a ring.
    package enum Event {
        /// The firings of the tracepoint with that number for which `filter` holds.
        case tracepoint(UInt64, filter: String)
        /// BPF programs, once the ring is in their array of events.
        case programs
    }

    /// What the kernel has written into a ring.
    package enum Record {
        case sample(Sample)
        /// Some that came before this one found no room, or were held back.
        case lost
    }

    /// One record: which thread of which process caused it, when by CLOCK_MONOTONIC, and the event's own fields, behind which
    /// there may be padding.
    package struct Sample {
        package let pid: Int32
        package let thread: Int32
        package let time: MonotonicTime
        /// Valid while `drain` hands it out.
        package let fields: UnsafeRawBufferPointer

        init(pid: Int32, thread: Int32, time: MonotonicTime, fields: UnsafeRawBufferPointer) {
            (self.pid, self.thread, self.time, self.fields) = (pid, thread, time, fields)
        }

        /// TID (pid, tid), TIME, RAW (size, fields), in this order (perf_event_open(2), PERF_RECORD_SAMPLE).
        init?(_ body: UnsafeRawBufferPointer) {
            guard body.count >= 20 else { return nil }
            pid = body.loadUnaligned(as: Int32.self)
            thread = body.loadUnaligned(fromByteOffset: 4, as: Int32.self)
            time = MonotonicTime(nanoseconds: body.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            let size = Int(body.loadUnaligned(fromByteOffset: 16, as: UInt32.self))
            guard size <= body.count - 20 else { return nil }
            fields = UnsafeRawBufferPointer(rebasing: body[20..<20 + size])
        }
    }

    /// A power of two of pages; some 580 of our records.
    private static let dataSize = 64 << 10

    package let cpu: Int32
    private let event: OwnedDescriptor
    private let mapping: UnsafeMutableRawPointer
    private let pageSize: Int

    /// Opens and starts the event on one CPU. Each record makes the descriptor readable, unless `wakes` is false, for a
    /// tracepoint only: that costs the thread that caused it more than the record.
    package init(_ source: Event, cpu: Int32, wakes: Bool = true) throws(SystemError) {
        self.cpu = cpu
        let number =
            switch source {
            case .tracepoint(let id, _): clinux_perf_open_tracepoint(id, cpu, wakes ? 1 : 0)
            case .programs: clinux_perf_open_bpf_output(cpu)
            }
        event = OwnedDescriptor(owning: try SystemError.check("perf_event_open", number))
        pageSize = sysconf(Int32(_SC_PAGESIZE))
        let mapped = mmap(
            nil, pageSize + Self.dataSize, PROT_READ | PROT_WRITE, MAP_SHARED, event.rawValue, 0)
        guard let mapped, mapped != MAP_FAILED else { throw .current("mmap of the perf ring") }
        mapping = mapped
        if case .tracepoint(_, let filter) = source {
            _ = try SystemError.check("perf filter", clinux_perf_set_filter(event.rawValue, filter))
        }
        _ = try SystemError.check("perf enable", clinux_perf_enable(event.rawValue))
    }

    deinit { munmap(mapping, pageSize + Self.dataSize) }

    var descriptor: Int32 { event.rawValue }

    /// Hands every record to `body` and frees its place.
    ///
    /// Returns whether the ring was more than half full: a record that finds no room is dropped, and the kernel
    /// says so only in front of the next one, so only a nearly full ring can have lost its tail.
    package func drain(_ body: (Record) -> Void) -> Bool {
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
                Self.read(
                    header.type, UnsafeRawBufferPointer(rebasing: data[bodyStart..<bodyStart + bodySize]),
                    body)
            } else {
                withUnsafeTemporaryAllocation(byteCount: bodySize, alignment: 8) { copy in
                    for offset in 0..<bodySize { copy[offset] = data[(bodyStart + offset) % Self.dataSize] }
                    Self.read(header.type, UnsafeRawBufferPointer(copy), body)
                }
            }
            tail &+= UInt64(size)
        }
        clinux_perf_set_tail(page, head)
        return used > UInt64(Self.dataSize / 2)
    }
    private static func read(_ type: UInt32, _ bytes: UnsafeRawBufferPointer, _ body: (Record) -> Void) {
        switch type {
        case UInt32(PERF_RECORD_SAMPLE.rawValue):
            if let sample = Sample(bytes) { body(.sample(sample)) }
        case UInt32(PERF_RECORD_LOST.rawValue), UInt32(PERF_RECORD_THROTTLE.rawValue): body(.lost)
        default: break
        }
    }
}
