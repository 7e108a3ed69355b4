internal import CLinux
internal import Glibc
internal import Linux
internal import Synchronization

/// A pseudo-terminal (pty(7)) for one command. The agent holds its master's side.
///
/// Reads end when the last holder of the other side goes, and soon after the command's end: a program in the background that
/// ignores SIGHUP may go on writing (disassociate_ctty, drivers/tty/tty_jobctrl.c). When this object goes, the kernel hangs
/// the terminal up, and what still runs on it gets SIGHUP, and errors when it writes.
final class GuestTerminal: Sendable {
    struct Size: Hashable, Sendable {
        var columns: UInt16
        var rows: UInt16
    }

    /// How long to wait, after the command's end, for output that the kernel has not passed on yet: a worker of the
    /// kernel's does that. Again when some has come, but not for ever.
    private static let lastOutput = Duration.milliseconds(100)
    private static let mostWaits = 5
    /// More than the kernel holds, so all that was written before the command's end is among so many bytes (tty_buffer_set_limit
    /// in drivers/tty/pty.c, N_TTY_BUF_SIZE).
    private static let mostLastOutput = 64 << 10

    /// The path of the command's side.
    let path: String
    private let master: OwnedDescriptor
    /// The command's side, until it is handed over.
    private let slave: Mutex<OwnedDescriptor?>
    private let readable = DescriptorWait(for: .readable)
    private let writable = DescriptorWait(for: .writable)
    /// Bytes that may still be read after the command's end.
    private let restAfterEnd = Atomic(GuestTerminal.mostLastOutput)
    private let waitsAfterEnd = Atomic(GuestTerminal.mostWaits)

    /// - Parameter owner: the user who may open it; nil for the agent's own.
    init(_ size: Size, owner: UInt32?) throws(SystemError) {
        var ends: [Int32] = [-1, -1]
        var name = [CChar](repeating: 0, count: 64)
        _ = try SystemError.check("open a terminal", clinux_open_terminal(&ends, &name, name.count))
        master = OwnedDescriptor(owning: ends[0])
        slave = Mutex(OwnedDescriptor(owning: ends[1]))
        path = name.withUnsafeBytes { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        resize(to: size)
        if let owner { _ = fchown(ends[1], owner, gid_t.max) }
    }

    /// Hands the command's side over, once; the caller closes it.
    func takeSlave() -> Int32 { slave.withLock { $0.take() }?.release() ?? -1 }

    /// The foreground process group gets SIGWINCH when the size is another one.
    func resize(to size: Size) { _ = clinux_set_terminal_size(master.rawValue, size.rows, size.columns) }

    /// Sends a signal to the process group in the foreground; false when there is none.
    func signal(_ number: Int32) -> Bool {
        let group = clinux_foreground_group(master.rawValue)
        return group > 0 && kill(-group, number) == 0
    }

    /// What the command wrote next; nil at the end.
    func read() async -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 32 << 10)
        var isLast = false
        while !Task.isCancelled {
            let isOver = readable.isOver
            if isOver, restAfterEnd.load(ordering: .relaxed) <= 0 { return nil }
            let count = Glibc.read(master.rawValue, &buffer, buffer.count)
            if count > 0 {
                if isOver { restAfterEnd.subtract(count, ordering: .relaxed) }
                return Array(buffer[..<count])
            }
            // EIO: nobody holds the other side any more.
            guard count < 0, errno == EAGAIN || errno == EINTR else { return nil }
            if isLast { return nil }
            if isOver {
                guard waitsAfterEnd.subtract(1, ordering: .relaxed).oldValue > 0 else { return nil }
                isLast = true
                try? await Task.sleep(for: Self.lastOutput)
            } else {
                await readable.wait(on: master.rawValue)
            }
        }
        return nil
    }

    /// Types these bytes; false when nobody can read them any more.
    func write(_ bytes: [UInt8]) async -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty, !Task.isCancelled, !writable.isOver {
            let count = rest.withUnsafeBytes { Glibc.write(master.rawValue, $0.baseAddress, $0.count) }
            if count >= 0 {
                rest = rest.dropFirst(count)
            } else if errno == EAGAIN {
                await writable.wait(on: master.rawValue)
            } else if errno != EINTR {
                return false
            }
        }
        return rest.isEmpty
    }

    /// Types the end of the input: it ends what was typed so far, then stands for itself (termios(3), VEOF).
    func writeEnd() async { _ = await write([4, 4]) }

    /// The command has ended: what is there to read is all there will be, and nothing more can be typed.
    func end() {
        readable.end()
        writable.end()
    }
}
