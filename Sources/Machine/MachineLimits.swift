/// Every limit and time-out of this module, with its reason.
package enum MachineLimits {
    // MARK: - Starting and stopping

    /// How long a guest may take to shut down before it is turned off; systemd itself gives a unit 90 s.
    package static let shutdown = Duration.seconds(60)
    /// A guest that is still booting misses the power button, so it is pressed again this often.
    static let powerButton = Duration.seconds(5)
    /// How often the state is asked for while something is waited for that libvirt has no event for.
    static let statePoll = Duration.milliseconds(200)
    /// The pause before libvirt's daemon is tried again.
    static let libvirtRetry = Duration.milliseconds(500)
    /// libvirt's keep-alive: seconds between two questions, and how many may stay without an answer.
    static let keepAlive = (interval: Int32(5), count: UInt32(3))
    /// How long `rum doctor` waits for libvirt: its daemon may have to start, and to ask QEMU what it can do.
    static let libvirtAnswer = Duration.seconds(15)
    /// How many seconds a call of libvirt may take until the user is told what is waited for; most take milliseconds.
    static let libvirtSilence = 5.0
    /// How often a lock that another process holds is tried.
    static let lockPoll = Duration.milliseconds(100)

    /// How many consoles of earlier runs are kept.
    static let earlierConsoles = 4

    /// How often the console is looked at while the guest starts, and how much of it at once.
    static let consolePoll = Duration.milliseconds(500)
    static let consolePiece = 64 << 10

    // MARK: - Images

    /// How much of an image is looked at: as far as the magic of btrfs, 64 KiB into the disk.
    static let imageHeadSize = 128 << 10
    /// How large an image of `packed` bytes may become: disks are packed to a third or less, and empty ones much more; a
    /// file made to fill the host's disk would be packed to a thousandth.
    static func unpackedSize(of packed: UInt64) -> UInt64 { max(unpackedAlways, packed / 1024 * 64 * 1024) }
    private static let unpackedAlways: UInt64 = 8 << 30
    /// What a disk without content takes: 200 KiB, and more for a large one.
    static let emptyOverlaySize: UInt64 = 1 << 20
    /// What the seed takes beside the agent's bundle.
    static let seedFilesSize: UInt64 = 1 << 20
    /// What a start takes at the least, and what a guest soon fills.
    static let leastRoom: UInt64 = 256 << 20
    static let usualRoom: UInt64 = 4 << 30
    /// How long a server may take to accept a connection, and how long it may send nothing.
    static let connectSeconds = 20
    static let silenceSeconds = 60
    /// How often a download's progress is told.
    static let progressInterval = Duration.seconds(1)

    // MARK: - Programs and ports

    /// What is kept of a program's standard output, and of its standard error.
    static let toolOutput = 1 << 20
    /// How long to wait before an ssh that has ended is started again.
    static let tunnelPause = Duration.seconds(1)
    /// How many pairs of host ports are tried for the agent. The second half of the tries takes reserved ports too.
    static let portAttempts = 200
    /// Below the kernel's usual ephemeral ports (ip(7), ip_local_port_range): of those every other one may be the
    /// local port of some connection, so that on a busy host no neighbours are free.
    static let agentPorts: ClosedRange<UInt16> = 10_000...32_000
}
