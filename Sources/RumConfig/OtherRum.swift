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
        "ssh.command": "any ssh can be used, and none is named",
        "ssh.interface": "the guest is reached through its agent, over no interface of its own",
        "advanced.autologin": "the console is only recorded; `rum exec` needs no login",
    ]

    /// What is there in place of `key`, a full name; nil when it is no key of that rum.
    static func advice(for key: String) -> String? {
        keys[key].map { "a key of the rum written in Rust; here \($0)" }
    }
}
