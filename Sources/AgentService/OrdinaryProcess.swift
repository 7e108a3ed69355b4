internal import Glibc
internal import Subprocess

/// Makes a command of `rum exec` an ordinary process, though the agent is not one: the agent's unit protects it from
/// the OOM killer, and it has raised its descriptor limit as far as the kernel lets it. Children inherit both.
enum OrdinaryProcess {
    /// The shell that undoes what was inherited and then becomes the command; between fork and exec nothing can be
    /// done in Swift. Every guest has it: the agent's installation is a script.
    static let shell = "/bin/sh"

    /// 1024 descriptors are what programs expect that use select(2), or that close all there could be.
    private static let script = """
        umask 022
        ulimit -S -n 1024 2>/dev/null
        { echo 0 >/proc/self/oom_score_adj; } 2>/dev/null
        exec "$@"
        """
    /// The first terminal that the leader of a session opens becomes the session's own (tty_ioctl(4), TIOCSCTTY).
    private static let terminalScript = """
        exec <>"$1" >&0 2>&0
        shift

        """

    /// - Parameter terminal: the path of the terminal to run it on.
    static func shellArguments(for command: [String], terminal: String?) -> [String] {
        guard let terminal else { return ["-c", script, "sh"] + command }
        return ["-c", terminalScript + script, "sh", terminal] + command
    }

    /// The agent's environment with what a login would add where it is missing, then with `additions`; for a `user` that
    /// of a login alone.
    static func environment(of user: GuestUser?, adding additions: [String: String]) -> Environment {
        if let user { return .custom(keyed(login(user).merging(additions) { $1 })) }
        var changes = login(GuestUser.numbered(getuid())).filter { getenv($0.key) == nil }
        changes.merge(additions) { $1 }
        return .inherit.updating(keyed(changes).mapValues { $0 })
    }

    private static func keyed(_ variables: [String: String]) -> [Environment.Key: String] {
        var result: [Environment.Key: String] = [:]
        for (name, value) in variables { result[Environment.Key(stringLiteral: name)] = value }
        return result
    }

    private static func login(_ user: GuestUser) -> [String: String] {
        var variables = [
            "HOME": user.home, "USER": user.name, "LOGNAME": user.name, "SHELL": user.shell,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
        // Where systemd's manager of this user runs, its tools look here for it.
        let runtime = "/run/user/\(user.uid)"
        if access(runtime, F_OK) == 0 { variables["XDG_RUNTIME_DIR"] = runtime }
        return variables
    }
}
