internal import Glibc
internal import Linux
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

    static func shellArguments(for command: [String]) -> [String] { ["-c", script, "sh"] + command }

    /// The agent's environment with what a login would add where it is missing, then with `additions`.
    static func environment(adding additions: [String: String]) -> Environment {
        var environment: [Environment.Key: String?] = [:]
        for (name, value) in login where getenv(name) == nil {
            environment[Environment.Key(stringLiteral: name)] = value
        }
        for (name, value) in additions { environment[Environment.Key(stringLiteral: name)] = value }
        return .inherit.updating(environment)
    }

    private static var login: [String: String] {
        let user = user(getuid(), in: (try? SmallFile.text(of: "/etc/passwd")) ?? "")
        return [
            "HOME": user.home, "USER": user.name, "LOGNAME": user.name, "SHELL": user.shell,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
    }

    /// Reads passwd(5): name, password, uid, gid, comment, home, shell.
    static func user(_ uid: UInt32, in passwd: String) -> (name: String, home: String, shell: String) {
        for line in passwd.split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            guard fields.count == 7, UInt32(fields[2]) == uid else { continue }
            return (
                String(fields[0]), fields[5].isEmpty ? "/" : String(fields[5]),
                fields[6].isEmpty ? shell : String(fields[6])
            )
        }
        return uid == 0 ? ("root", "/root", shell) : ("\(uid)", "/", shell)
    }
}
