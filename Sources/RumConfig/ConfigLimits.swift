/// Every limit of this module, with its reason.
package enum ConfigLimits {
    /// Larger files are no rum.toml.
    static let file = 1 << 20
    /// HEAD and the file `.git` hold one line, with a path at the most.
    static let gitFile = 8192
    /// How deep values and keys may be nested, so that hostile input cannot exhaust the stack.
    static let nesting = 32
    /// How much of a text an error message shows.
    static let shownText = 60
    /// How many names of images an error lists.
    static let shownNames = 24
    /// The name becomes part of a host name, of libvirt's names and of paths of sockets, which hold 107 bytes.
    static let machineName = 40
    /// What useradd(8) takes.
    static let userName = 32
    /// What QEMU's q35 takes without an interrupt remapper; what a kernel needs to boot, and 16 TiB.
    static let cpus = 1...288
    static let memoryMB = 64...16_777_216
    /// Each takes a PCI port of the machine.
    static let mounts = 16
    /// Every listener of the guest is held against all of them, at each of its tables.
    package static let rules = 64
    /// What a label of a host name may have.
    static let label = 63
    /// 16 MiB to 64 TiB.
    static let diskBytes: ClosedRange<UInt64> = 1 << 24...1 << 46
}
