internal import Glibc
internal import Linux

/// The bounds and time limits of a relay engine.
package struct RelayOptions: Sendable {
    /// Event loops, each on a thread of its own.
    package var loops: Int
    /// Connections at once; above it, clients wait in the listeners' backlogs.
    package var maxConnections: Int
    /// Pipes per loop for splice(2); a direction that gets none copies through a buffer.
    package var pipesPerLoop = 64
    /// Bytes, of at most 1 MiB for an unprivileged process (pipe(7), pipe-max-size).
    ///
    /// To move a mebibyte takes 0.2 ms, in which a kernel without preemption gives the core to nobody else. With half
    /// of it a small stream beside bulk waits a third less at the same CPU time per byte; an eighth costs a fifth
    /// more CPU time (measured with the load of make bench-relay).
    package var pipeSize = 512 << 10
    /// Buffers per loop; a direction that gets none peeks and holds nothing between turns.
    package var buffersPerLoop = 32
    package var bufferSize = 256 << 10
    /// Bytes one direction may move before the others have their turn.
    package var turnBytes = 256 << 10
    /// Connections one listener may accept before the relays have their turn.
    package var acceptsPerTurn = 32
    /// From accept to the first relayed byte: dialling, greeting, preamble and status.
    package var handshakeTimeout = Duration.seconds(10)
    /// How long a connection of which one direction has ended may stay without a byte in the other.
    package var halfClosedTimeout = Duration.seconds(3600)
    package var splice = SpliceUse.whereItPays

    /// When bytes move through pipes instead of through user memory.
    package enum SpliceUse: Sendable {
        /// Both ways are tried on the first bulk transfers; the cheaper one stays.
        case whereItPays
        case always
        case never
    }

    /// One loop a core, up to four; connections as the limit on descriptors (RLIMIT_NOFILE) allows.
    package init() {
        loops = min(4, max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        let descriptors = min(DescriptorLimit.current, 1 << 20)
        // Two a connection; the rest is for pipes, listeners and the program's own.
        maxConnections = max(16, (descriptors - min(descriptors / 4, 2 * loops * pipesPerLoop + 256)) / 2)
    }
}
