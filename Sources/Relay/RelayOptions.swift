internal import Glibc
internal import Linux

/// The bounds and time limits of a relay engine.
package struct RelayOptions: Sendable {
    /// Event loops, each on a thread of its own.
    package var loops: Int
    /// Descriptors for connections, listeners and pipes at once; where they are used up, clients wait in the listeners'
    /// backlogs. A connection takes two.
    package var maxDescriptors: Int
    /// Pipes per loop for splice(2), for all loops at most a quarter of the descriptors; a direction that gets none copies
    /// through a buffer.
    package var pipesPerLoop: Int
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
    /// From accept to the first relayed byte.
    package var handshakeTimeout = Duration.seconds(10)
    /// For an accepted tunnel to show that its peer may speak, and for a client to say where it wants to go; both are a few
    /// bytes that are sent at once.
    package var silenceTimeout = Duration.seconds(2)
    /// Such tunnels and clients per loop that have not done so yet; above that the oldest of them is closed.
    package var maxSilent = 64
    /// Tunnels per loop that a host keeps for its next clients, out of the descriptors that connections leave; and how long.
    package var maxSpares: Int
    package var spareTime = Duration.seconds(1)
    /// How long an agent waits on such a tunnel: longer than the host keeps it, so that none is asked as it closes.
    package var idleTimeout = Duration.seconds(3)
    /// How long a connection of which one direction has ended may stay without a byte in the other.
    package var halfClosedTimeout = Duration.seconds(3600)
    /// Clients of all listeners that may wait for their servers at once (`RelayHold`); as many descriptors may serve others.
    package var maxHeld: Int
    /// Between two dials of the client that has waited longest, of each forward and loop. One that fails takes some 0.1 ms.
    package var heldRetry = Duration.milliseconds(20)
    package var splice = SpliceUse.whereItPays
    /// Bytes of all buffers, per loop, made for what flows hold that wait for a slow reader.
    var spillLimit = 64 << 20
    /// For a server to answer before its client's relay is told, by itself, that it was reached. What it says sooner goes out
    /// together with that, which saves a packet and wakes the other relay once instead of twice.
    var patience = Duration.milliseconds(2)
    /// Connections taken from a listener before others have their turn.
    var acceptsPerTurn = 16
    /// A loop counts as busy with bulk for so long after its last turn of it.
    var bulkMemory = Duration.milliseconds(10)
    /// Until a dial is tried again for which there was no descriptor, or no room in the backlog.
    var retryInterval = Duration.milliseconds(2)
    /// For which a listener rests when descriptors are used up.
    var pauseInterval = Duration.milliseconds(20)
    /// Between two walks over all connections for pipes and buffers to take back.
    var reclaimInterval = Duration.milliseconds(50)
    /// Time slice of a loop's thread: the shortest that the kernel grants (sched_setattr(2)). A woken loop then soon gets a core
    /// from a program that computes or moves bulk.
    package var threadSlice = Duration.microseconds(100)

    /// When bytes move through pipes instead of through user memory.
    package enum SpliceUse: Sendable {
        /// Both ways are tried on the first bulk transfers; the cheaper one stays.
        case whereItPays
        case always
        case never
    }

    /// One loop a core, up to four; descriptors as the limit on them (RLIMIT_NOFILE) allows, less a reserve for what
    /// else the program opens.
    package init() {
        self.init(
            descriptors: min(DescriptorLimit.current, 1 << 20), cores: sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    }

    init(descriptors limit: Int, cores: Int) {
        loops = min(4, max(1, cores))
        maxDescriptors = max(32, limit - min(limit / 4, 256))
        pipesPerLoop = min(24, maxDescriptors / (8 * loops))
        maxHeld = min(1024, maxDescriptors / 4)
        maxSpares = min(64, limit / 256)
    }
}
