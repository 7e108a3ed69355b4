internal import Glibc
internal import Linux

/// Becomes a user of the guest, and then the command that this user runs: a process of its own between the agent and the
/// command, which is the agent's program again with the word `become`.
///
/// Between fork and exec it can't be done. setgroups(3), setgid(3) and setuid(3) change every thread of a process, and in a
/// child made by clone3(2) glibc still has the list of the parent's threads: it waits for ever for one that was just being
/// created (nptl/nptl_setxid.c, setxid_mark_thread), and every later command waits behind it.
package enum UserSwitch {
    private static let word = "become"

    /// The arguments, after the program's name, with which it becomes `user` and then `program`, a path.
    static func arguments(for user: GuestUser, program: String, _ arguments: [String]) -> [String] {
        let groups = user.groups.map { "\($0)" }.joined(separator: ",")
        return [word, "\(user.uid)", "\(user.gid)", groups, program] + arguments
    }

    /// Does so, and does not return, when the process was started with such arguments. To be called before there is another
    /// thread.
    package static func runIfAsked() {
        let words = CommandLine.arguments.dropFirst()
        guard words.first == word else { return }
        let rest = Array(words.dropFirst())
        guard rest.count >= 4, let uid = uid_t(rest[0]), let gid = gid_t(rest[1]) else {
            return fail("\(word) is for rum-agent's own use")
        }
        let groups = rest[2].split(separator: ",").compactMap { gid_t($0) }
        // The group before the user, who may not change it any more.
        guard setgroups(groups.count, groups) == 0, setgid(gid) == 0, setuid(uid) == 0 else {
            return fail("cannot become the user \(uid): \(SystemError.text(for: errno))")
        }
        let command = Array(rest[3...])
        var pointers: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
        execv(command[0], &pointers)
        fail("cannot run \(command[0]): \(SystemError.text(for: errno))")
    }

    /// The shell's code for a command that was found and could not be started.
    private static func fail(_ reason: String) {
        let line = Array("rum-agent: \(reason)\n".utf8)
        _ = write(STDERR_FILENO, line, line.count)
        exit(126)
    }
}
