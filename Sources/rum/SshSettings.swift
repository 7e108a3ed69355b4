import CommandMain
import Foundation
import Glibc
import Linux
import Machine
import RumConfig

/// How OpenSSH reaches a machine: through its agent, with keys that both sides know beforehand. The same for `rum ssh`,
/// `rum cp` and `rum ssh-config`.
struct SshSettings {
    let machine: VirtualMachine

    /// - Throws: when the machine has no keys.
    init(_ machine: VirtualMachine) throws(CommandFailure) {
        if let obstacle = machine.sshObstacle {
            throw CommandFailure(obstacle.message, hint: obstacle.hint)
        }
        self.machine = machine
    }

    /// The name under which OpenSSH knows the machine.
    var host: String { Self.host(machine) }

    static func host(_ machine: VirtualMachine) -> String { "rum-\(machine.config.name)" }

    /// Keywords and values as in ssh_config(5).
    var values: [(keyword: String, value: String)] {
        [
            ("User", machine.guestUser),
            ("ProxyCommand", proxyCommand),
            ("HostKeyAlias", host),
            ("UserKnownHostsFile", Self.quoted(machine.files.knownHosts)),
            ("GlobalKnownHostsFile", "/dev/null"),
            ("StrictHostKeyChecking", "yes"),
            ("UpdateHostKeys", "no"),
            ("IdentityFile", Self.quoted(machine.files.sshKey)),
            // An agent full of other keys would use up the server's patience.
            ("IdentitiesOnly", "yes"),
        ]
    }

    /// The settings as options of ssh and scp.
    var options: [String] { values.flatMap { ["-o", "\($0.keyword)=\($0.value)"] } }

    /// The settings as a part of a configuration file.
    var file: String {
        (["Host \(host)"] + values.map { "    \($0.keyword) \($0.value)" }).joined(separator: "\n")
    }

    /// Run by the user's shell, wherever ssh is started.
    private var proxyCommand: String {
        // Where the machine is must not depend on who starts ssh.
        let variables = ["RUM_HOME", "XDG_DATA_HOME"].compactMap { name in
            ProcessInfo.processInfo.environment[name].map { "\(name)=\($0)" }
        }
        let words =
            (variables.isEmpty ? [] : ["env"] + variables) + [Self.program, "ssh-proxy", machine.config.name]
        return words.map { Self.escaped(Self.shellQuoted($0)) }.joined(separator: " ")
    }

    /// The path of this program.
    static var program: String { URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().path }

    /// A path as an argument of a keyword.
    static func quoted(_ path: String) -> String {
        let text = escaped(path)
        guard text.contains(where: { " \"#\\".contains($0) }) else { return text }
        let inner = text.map { "\"\\".contains($0) ? "\\\($0)" : "\($0)" }.joined()
        return "\"\(inner)\""
    }

    /// Such that ssh finds none of its tokens in it.
    private static func escaped(_ text: String) -> String {
        text.replacingOccurrences(of: "%", with: "%%")
    }

    static func shellQuoted(_ word: String) -> String {
        let isPlain = word.utf8.allSatisfy {
            $0.isASCIIAlphanumeric || "/._-=+:@".utf8.contains($0)
        }
        if isPlain, !word.isEmpty { return word }
        return "'" + word.replacingOccurrences(of: "'", with: "'\\''") + "'"
    }
}

/// Programs of OpenSSH that take this process's place.
enum SshProgram {
    /// Becomes the program; returns only by an error.
    static func become(_ name: String, _ arguments: [String]) throws(CommandFailure) -> Never {
        // The program starts with what an ordinary one starts with, not with what this process has set for itself.
        _ = signal(SIGPIPE, SIG_DFL)
        var none = sigset_t()
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, nil)
        var words: [UnsafeMutablePointer<CChar>?] = ([name] + arguments).map { strdup($0) } + [nil]
        execvp(name, &words)
        let reason = SystemError.text(for: errno)
        throw CommandFailure(
            "\(name) cannot be started: \(reason)",
            hint: "install it, on Debian with: apt install openssh-client; `rum shell` needs none",
            status: .unreachable)
    }
}
