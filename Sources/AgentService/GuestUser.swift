internal import Linux

/// A user of this guest, as its own files tell. They are read here and not by the C library: the agent brings its own,
/// which must not load the guest's modules for name look-ups.
struct GuestUser: Hashable, Sendable {
    var name: String
    var uid: UInt32
    var gid: UInt32
    var home: String
    var shell: String
    /// All groups, the first one included.
    var groups: [UInt32]

    static let defaultShell = "/bin/sh"

    /// The user called `name`; nil when there is none.
    static func named(_ name: String) -> GuestUser? {
        let passwd = (try? SmallFile.text(of: "/etc/passwd")) ?? ""
        return named(name, passwd: passwd, group: (try? SmallFile.text(of: "/etc/group")) ?? "")
    }

    /// The user with a number; one without an entry gets what a login needs.
    static func numbered(_ uid: UInt32) -> GuestUser {
        let passwd = (try? SmallFile.text(of: "/etc/passwd")) ?? ""
        return numbered(uid, passwd: passwd)
    }

    /// Reads passwd(5) and group(5).
    static func named(_ name: String, passwd: String, group: String) -> GuestUser? {
        guard var user = users(passwd).first(where: { $0.name == name }) else { return nil }
        for line in group.split(separator: "\n") {
            // name, password, gid, members
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            guard fields.count == 4, let gid = UInt32(fields[2]), !user.groups.contains(gid),
                fields[3].split(separator: ",").contains(Substring(name))
            else { continue }
            user.groups.append(gid)
        }
        return user
    }

    static func numbered(_ uid: UInt32, passwd: String) -> GuestUser {
        users(passwd).first { $0.uid == uid }
            ?? GuestUser(
                name: uid == 0 ? "root" : "\(uid)", uid: uid, gid: uid, home: uid == 0 ? "/root" : "/",
                shell: defaultShell, groups: [uid])
    }

    private static func users(_ passwd: String) -> some Sequence<GuestUser> {
        passwd.split(separator: "\n").lazy.compactMap { line in
            // name, password, uid, gid, comment, home, shell
            let fields = line.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            guard fields.count == 7, let uid = UInt32(fields[2]), let gid = UInt32(fields[3]) else {
                return nil
            }
            return GuestUser(
                name: fields[0], uid: uid, gid: gid, home: fields[5].isEmpty ? "/" : fields[5],
                shell: fields[6].isEmpty ? defaultShell : fields[6], groups: [gid])
        }
    }
}
