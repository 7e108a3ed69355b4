internal import AgentChannel
internal import FoundationEssentials
internal import Glibc
internal import Linux

/// Where a machine keeps its files, and where images are cached.
package struct MachineFiles: Hashable, Sendable {
    /// The machine's own folder; only its owner may look into it.
    package let directory: String
    /// Downloaded images, shared by all machines.
    package let cache: String

    /// The names of the folders in which machines of this user are, sorted.
    static func names(environment: [String: String]) -> [String] {
        folders(environment: environment).filter {
            let files = MachineFiles(machine: $0, environment: environment)
            return files.exists && (try? files.checkOwner()) != nil
        }.sorted()
    }

    /// The same with folders of machines that are being made.
    static func folders(environment: [String: String]) -> [String] {
        names(in: MachineFiles(machine: "", environment: environment).directory)
    }

    /// `machine` names the folder under `$RUM_HOME/machines`, or `${XDG_DATA_HOME:-~/.local/share}/rum/machines`;
    /// the cache is `$RUM_CACHE`, or `${XDG_CACHE_HOME:-~/.cache}/rum`. Root's are in /var: the system's libvirt runs QEMU as
    /// a user who may not enter root's home.
    package init(machine: String, environment: [String: String], isRoot: Bool = geteuid() == 0) {
        func folder(_ own: String, _ xdg: String, _ inHome: String, ofRoot: String) -> String {
            if let own = Self.path(own, environment) { return own }
            if let xdg = Self.path(xdg, environment) { return xdg + "/rum" }
            return isRoot ? ofRoot : Self.home(environment) + inHome + "/rum"
        }
        let root = folder("RUM_HOME", "XDG_DATA_HOME", "/.local/share", ofRoot: "/var/lib/rum")
        directory = "\(root)/machines/\(machine)"
        cache = folder("RUM_CACHE", "XDG_CACHE_HOME", "/.cache", ofRoot: "/var/cache/rum")
    }

    /// A variable of rum's own that has a relative path, which would be another place in each folder; nil when none has.
    package static func relativeVariable(environment: [String: String]) -> String? {
        ["RUM_HOME", "RUM_CACHE"].first { name in
            environment[name].map { !$0.isEmpty && !$0.hasPrefix("/") } ?? false
        }
    }

    /// Where the user's programs keep what they can do without, as the XDG base directory specification has it.
    static func userCache(environment: [String: String]) -> String {
        path("XDG_CACHE_HOME", environment) ?? home(environment) + "/.cache"
    }

    private static func path(_ name: String, _ environment: [String: String]) -> String? {
        environment[name].flatMap { $0.hasPrefix("/") ? $0 : nil }
    }

    private static func home(_ environment: [String: String]) -> String {
        path("HOME", environment) ?? listedHome
    }

    /// The user's home as the user database has it, for where HOME does not tell.
    private static var listedHome: String {
        guard let entry = getpwuid(geteuid()), let home = entry.pointee.pw_dir else { return "/" }
        return String(cString: home)
    }

    /// The folder that all machines of this user share, made if there is none; only the user may change it.
    package static func sharedFolder(environment: [String: String]) throws(MachineError) -> String {
        let machines = directory(of: MachineFiles(machine: "", environment: environment).directory)
        let shared = directory(of: machines)
        try makeDirectory(shared, mode: 0o711)
        try checkOwner(of: shared)
        return shared
    }

    package var token: String { directory + "/token" }
    package var consoleLog: String { directory + "/console.log" }
    /// The consoles of the runs before, the newest first.
    package var earlierConsoleLogs: [String] {
        (1...MachineLimits.earlierConsoles).map { "\(directory)/console.\($0).log" }
    }
    /// What the process that owns the machine's forwards says while it runs in the background.
    package var backgroundLog: String { directory + "/background.log" }
    /// Where that process is asked and told things.
    package var controlSocket: String { directory + "/control.sock" }
    /// The private key that the guest's user accepts.
    package var sshKey: String { directory + "/id_ed25519" }
    /// The private key of the guest's sshd.
    var sshHostKey: String { directory + "/ssh_host_ed25519_key" }
    /// What ssh compares the guest's key with.
    package var knownHosts: String { directory + "/known_hosts" }
    /// A program of `rum cp --root`.
    package var sftpAsRoot: String { directory + "/sftp-as-root" }
    /// What the user has answered about ports.
    var consents: String { directory + "/answers.json" }
    var consentsLock: String { directory + "/answers.lock" }
    var lock: String { directory + "/lock" }
    /// The loopback address that the machine has to itself.
    var ownAddress: String { directory + "/address" }
    /// Taken by whoever chooses such an address; of all machines.
    var addressLock: String { Self.directory(of: Self.directory(of: directory)) + "/addresses.lock" }
    var record: String { directory + "/machine.json" }
    /// Which libvirt has the machine, beside what the record says.
    var libvirtURI: String { directory + "/libvirt-uri" }
    var disk: String { directory + "/disk.qcow2" }
    var seed: String { directory + "/seed.iso" }

    package var exists: Bool { Self.exists(record) }

    /// Writes that program.
    package func writeSftpAsRoot(_ script: String) throws(MachineError) {
        try Self.write(Array(script.utf8), to: sftpAsRoot, mode: 0o700)
    }

    /// The secret shared with the guest's agent.
    func readToken() throws(MachineError) -> MachineToken {
        let text = try Self.read(token)
        if let token = MachineToken(text: text) { return token }
        throw MachineError(.files, "\(token) holds no token", hint: "Run `rum destroy`, then `rum up`.")
    }
}

extension MachineFiles {
    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    static func failure(_ verb: String, _ path: String, _ error: SystemError) -> MachineError {
        let hint =
            switch error.code {
            case ENOSPC, EDQUOT: "Free some disk space, or move the files with RUM_HOME or RUM_CACHE."
            case EACCES, EPERM: "Check the owner and mode of the folders above it."
            case EROFS: "Choose a place that can be written with RUM_HOME or RUM_CACHE."
            default: "Check the path and try again."
            }
        return MachineError(
            error.code == EACCES || error.code == EPERM ? .permission : .files,
            "cannot \(verb) \(path): \(error.reason)", hint: hint)
    }

    /// Makes the folder at `path` and those above it, with mode 0700 unless they exist.
    static func makeDirectory(_ path: String, mode: mode_t = 0o700) throws(MachineError) {
        var partial = ""
        for part in path.split(separator: "/") {
            partial += "/\(part)"
            if mkdir(partial, mode) != 0, errno != EEXIST {
                throw failure("create", partial, .current("mkdir"))
            }
        }
    }

    /// The whole content of the small file at `path`.
    static func read(_ path: String) throws(MachineError) -> String {
        do {
            return try SmallFile.text(of: path)
        } catch {
            throw failure("read", path, error)
        }
    }

    /// Writes a file so that at `path` there is either the old or the whole new content.
    static func write(_ content: [UInt8], to path: String, mode: mode_t = 0o600) throws(MachineError) {
        do {
            try WholeFile.write(content, to: path, mode: mode)
        } catch {
            throw failure("write", path, error)
        }
    }

    /// Throws unless there is room for a file of `size` bytes at `path`. Asked before a program is to write it, since
    /// what programs say about a full disk cannot be told from other complaints.
    static func checkRoom(for size: UInt64, at path: String) throws(MachineError) {
        // A folder whose room is unknown may have enough.
        guard let room = room(in: directory(of: path)), room < size else { return }
        throw failure("write", path, SystemError(code: ENOSPC, operation: "statvfs"))
    }

    /// The bytes that are free for this user on the file system of a folder; nil when it can't be asked.
    static func room(in folder: String) -> UInt64? {
        var info = statvfs()
        guard statvfs(folder, &info) == 0 else { return nil }
        // A file system somewhere in a network may count more than there can be.
        let (bytes, isTooMuch) = UInt64(info.f_bavail).multipliedReportingOverflow(by: UInt64(info.f_frsize))
        return isTooMuch ? .max : bytes
    }

    /// The names of what is in a folder, in no order; none when it cannot be read.
    static func names(in folder: String) -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    }

    /// Whether a regular file is at `path`, or at the end of the links there.
    static func isRegular(_ path: String) -> Bool {
        var info = stat()
        return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFREG
    }

    /// Whether two paths lead to one file.
    static func areSame(_ one: String, _ other: String) -> Bool {
        var (first, second) = (stat(), stat())
        return stat(one, &first) == 0 && stat(other, &second) == 0
            && (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)
    }

    /// The size of the file at `path`; 0 when there is none.
    static func size(of path: String) -> UInt64 {
        var info = stat()
        return stat(path, &info) == 0 ? UInt64(info.st_size) : 0
    }

    /// The folder that `path` is in.
    static func directory(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    }

    /// Renames a file, replacing what is at `path`.
    static func move(_ source: String, to path: String) throws(MachineError) {
        if rename(source, path) != 0 { throw failure("create", path, .current("rename")) }
    }

    /// Copies the content of a file; cp shares its blocks where the file system can.
    static func copy(_ source: String, to path: String) async throws(MachineError) {
        let temporary = path + ".new"
        try remove(temporary)
        try checkRoom(for: size(of: source), at: temporary)
        try await Tool.cp.output(of: ["--", source, temporary])
        // QEMU's user may be another one.
        _ = chmod(temporary, 0o644)
        try move(temporary, to: path)
    }

    /// Gives a file a second name, or copies it where that cannot be.
    static func link(_ source: String, to path: String) async throws(MachineError) {
        if Glibc.link(source, path) != 0 { return try await copy(source, to: path) }
        _ = chmod(path, 0o644)
    }

    /// Makes the machine's folder, and throws when it is somebody else's, who could change what is in it.
    ///
    /// Those above it let others through, who must know a name to see anything: QEMU may run as another user.
    func makeDirectory() throws(MachineError) {
        try Self.makeDirectory(Self.directory(of: directory), mode: 0o711)
        try Self.makeDirectory(directory)
        try checkOwner()
    }

    /// Throws when somebody else could change what is in the machine's folder: it is theirs, or one of rum's folders above
    /// it is. What is in there is trusted: the record says which libvirt to ask, and a URI of libvirt can name a program.
    func checkOwner() throws(MachineError) {
        let machines = Self.directory(of: directory)
        for path in [Self.directory(of: machines), machines] { try Self.checkOwner(of: path) }
        try Self.checkPrivate(directory)
    }

    /// Throws unless `path` is a folder of the user's own that only the user may change.
    static func checkPrivate(_ path: String) throws(MachineError) {
        let own = try status(path)
        guard own.st_mode & S_IFMT == S_IFDIR, own.st_uid == geteuid(), own.st_mode & 0o022 == 0 else {
            throw foreign(path)
        }
    }

    /// Throws when somebody else than the user or root could change what is in the folder `path`.
    static func checkOwner(of path: String) throws(MachineError) {
        // A link's owner could turn it.
        let (link, target) = (try status(path), try status(path, follows: true))
        // In a sticky folder such as /tmp others can't touch what is mine (inode(7)).
        let isOpen = target.st_mode & (S_IWOTH | S_ISVTX) == S_IWOTH
        guard [link.st_uid, target.st_uid].allSatisfy({ $0 == 0 || $0 == geteuid() }), !isOpen else {
            throw foreign(path)
        }
    }

    private static func status(_ path: String, follows: Bool = false) throws(MachineError) -> stat {
        var status = stat()
        let place = path.isEmpty ? "/" : path
        guard (follows ? stat(place, &status) : lstat(place, &status)) == 0 else {
            throw failure("look at", place, .current("stat"))
        }
        return status
    }

    private static func foreign(_ path: String) -> MachineError {
        MachineError(
            .permission, "\(path) is not a folder that only you can change",
            hint: "Remove it, or set RUM_HOME to a folder of your own.")
    }

    /// Throws when sockets in the machine's folder would have names that are too long (sun_path, unix(7)).
    func checkSocketLength() throws(MachineError) {
        let length = controlSocket.utf8.count
        guard length > SocketAddress.longestUnixPath else { return }
        throw MachineError(
            .files,
            "\(directory) is too long for sockets: \(length) bytes with their name, \(SocketAddress.longestUnixPath) at most",
            hint: "Set RUM_HOME to a shorter path.")
    }

    /// Removes a file, or a folder with all that is in it; nothing there is fine.
    static func remove(_ path: String) throws(MachineError) {
        guard exists(path) else { return }
        do {
            try FileManager.default.removeItem(atPath: path)
        } catch {
            throw MachineError(
                .files, "cannot remove \(path)", hint: "Remove it by hand to see why: rm -r '\(path)'")
        }
    }
}
