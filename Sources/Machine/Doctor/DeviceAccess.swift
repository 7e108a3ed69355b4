internal import Glibc
internal import Linux

/// A device of the host that a machine uses, and whether this user gets at it.
struct DeviceAccess: Hashable, Sendable {
    var path: String
    /// The errno of opening it, or of its first use; nil when both worked.
    var error: Int32?
    /// The group whose members may open it; nil when there is none, or no device.
    var group: String?

    var isDenied: Bool { error == EACCES || error == EPERM }

    /// How `user` gets at it.
    func cure(for user: GroupMembership) -> String {
        if let group { return user.cure(group) }
        return "sudo chgrp kvm \(path) && sudo chmod 660 \(path); \(user.cure("kvm"))"
    }

    /// Opens /dev/kvm and makes an empty machine with it: the device may exist and yet not work, where the host is a
    /// guest itself.
    static func kvm(path: String = "/dev/kvm") -> DeviceAccess {
        probe(path) { file in
            // KVM_CREATE_VM of linux/kvm.h; the argument 0 is the default type.
            let machine = ioctl(file.rawValue, 0xae01, 0)
            guard machine >= 0 else { return errno }
            _ = OwnedDescriptor(owning: machine)
            return nil
        }
    }

    static func vsock(path: String = "/dev/vhost-vsock") -> DeviceAccess { probe(path) { _ in nil } }

    private static func probe(_ path: String, use: (borrowing OwnedDescriptor) -> Int32?) -> DeviceAccess {
        var status = stat()
        // Nobody should join the group root for it.
        let hasGroup = stat(path, &status) == 0 && status.st_mode & 0o060 == 0o060 && status.st_gid != 0
        let group = hasGroup ? GroupMembership.name(of: status.st_gid) : nil
        let number = open(path, O_RDWR | O_CLOEXEC)
        guard number >= 0 else { return DeviceAccess(path: path, error: errno, group: group) }
        return DeviceAccess(path: path, error: use(OwnedDescriptor(owning: number)), group: group)
    }
}

/// Who this user is, and in which groups.
struct GroupMembership: Hashable, Sendable {
    var user: String
    var isRoot: Bool
    /// Those of this process.
    var active: Set<String>
    /// Those that the user database names: a change takes effect at the next log-in.
    var listed: Set<String>

    static func current() -> GroupMembership {
        var numbers = [gid_t](repeating: 0, count: 1024)
        let count = getgroups(Int32(numbers.count), &numbers)
        let own = Array(numbers.prefix(max(0, Int(count)))) + [getegid()]
        var listed: Set<String> = []
        var user = "\(geteuid())"
        if let entry = getpwuid(geteuid()), let name = entry.pointee.pw_name {
            user = String(cString: name)
            var found = [gid_t](repeating: 0, count: 1024)
            var size = Int32(found.count)
            if getgrouplist(user, entry.pointee.pw_gid, &found, &size) >= 0 {
                listed = Set(found.prefix(Int(size)).compactMap(Self.name(of:)))
            }
        }
        return GroupMembership(
            user: user, isRoot: geteuid() == 0, active: Set(own.compactMap(Self.name(of:))), listed: listed)
    }

    static func name(of group: gid_t) -> String? {
        guard let entry = getgrgid(group), let name = entry.pointee.gr_name else { return nil }
        return String(cString: name)
    }

    /// How the user gets into `group`.
    func cure(_ group: String) -> String {
        listed.contains(group) && !active.contains(group)
            ? "\(user) is in the group \(group), but this log-in is older: log out and in again."
            : "sudo usermod -aG \(group) \(user), then log out and in again"
    }
}
