internal import Glibc
package import Linux
internal import RumConfig

/// The addresses of 127.0.0.0/8 that machines have to themselves: Linux answers on each of them without any set-up.
enum OwnAddress {
    /// All of one user's addresses, the one that suits `machine` first, so that a machine made anew most times gets the
    /// address it had.
    ///
    /// Users share the host's loopback, so the second number is the user's: 64 to 191, by the uid. The lower ones are in use
    /// elsewhere (127.0.0.53 is systemd-resolved, 127.0.1.1 Debian's own name).
    static func candidates(for machine: String, uid: UInt32) -> some Sequence<IPAddress> {
        let network: UInt32 = 127 << 24 | (64 + uid % 128) << 16
        // The last number is never 0 or 255, which some programs take for a network and a broadcast.
        let count: UInt32 = 256 * 254
        let first = UInt32(truncatingIfNeeded: Fingerprint.number(of: machine) % UInt64(count))
        return (0..<count).lazy.map { step in
            let index = (first + step) % count
            return .v4(network | (index / 254) << 8 | (index % 254 + 1))
        }
    }
}

extension VirtualMachine {
    /// The machine's own loopback address, which no other machine of this user has; nil when it never asked for one.
    package var ownAddress: IPAddress? { Self.ownAddress(in: files) }

    /// The same, chosen now if there is none yet. It is the machine's until it is destroyed.
    package func reserveOwnAddress() async throws(MachineError) -> IPAddress {
        try files.makeDirectory()
        return try await FileLock.holding(
            files.addressLock, waiting: {},
            { () async throws(MachineError) in
                try chooseOwnAddress()
            })
    }

    private func chooseOwnAddress() throws(MachineError) -> IPAddress {
        let taken = Set(
            MachineFiles.folders(environment: environment).filter { $0 != config.name }.compactMap {
                Self.ownAddress(in: MachineFiles(machine: $0, environment: environment))
            })
        // A folder that was copied by hand has another machine's.
        if let address = ownAddress, !taken.contains(address) { return address }
        let free = OwnAddress.candidates(for: config.name, uid: geteuid()).first { !taken.contains($0) }
        guard let free else {
            throw MachineError(
                .conflict, "every address is taken", hint: "Remove some machines: `rum list`.")
        }
        try MachineFiles.write(Array("\(free)\n".utf8), to: files.ownAddress)
        return free
    }

    private static func ownAddress(in files: MachineFiles) -> IPAddress? {
        guard let text = try? SmallFile.text(of: files.ownAddress, limit: 64) else { return nil }
        let address = IPAddress(text: text.prefix { $0 != "\n" })
        return address?.isLoopback == true && address != .loopbackV4 ? address : nil
    }
}
