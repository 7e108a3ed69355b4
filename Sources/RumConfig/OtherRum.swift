/// Keys of the rum that is written in Rust (github.com/Nohac/rum), whose rum.toml has another layout.
enum OtherRum {
    private static let keys = [
        "network": "the machine has QEMU's user network; what is reachable is in [[ports]] and [auto_ports]",
        "drives": "there is one disk, and its size is resources.disk",
        "fs": "file systems are made by a script, in [provision.system]",
        "user": "the user's name is ssh.user; groups are given by a script, in [provision.system]",
        "provision.script":
            "write it as [provision.system] script = \"...\" (once) or [provision.boot] (every boot)",
        "provision.packages": "install them with a script, in [provision.system]",
        "ssh.command": "`rum ssh` runs ssh; for other programs there is `rum ssh-config`",
        "ssh.interface": "`rum ssh` goes through the guest's agent, whatever interfaces there are",
        "advanced.autologin": "the console is only recorded; `rum shell` needs no login",
    ]

    /// What is there in place of `key`, a full name; nil when it is no key of that rum.
    static func advice(for key: String) -> String? {
        keys[key].map { "a key of the rum written in Rust; here \($0)" }
    }
}
