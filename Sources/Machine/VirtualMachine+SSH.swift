internal import RumConfig

extension VirtualMachine {
    /// The user that cloud-init has made in the guest: `ssh.user` as it was when the machine got its disk.
    package var guestUser: String {
        let record = try? MachineRecord.load(files)
        return record?.applied?.user ?? config.ssh.user
    }

    /// Why ssh can't be used with this machine as it is; nil when its keys are there.
    package var sshObstacle: MachineError? {
        guard files.exists else {
            return MachineError(
                .files, "the machine \(config.name) does not exist yet", hint: "Create it with `rum up`.")
        }
        if [files.sshKey, files.sshHostKey, files.knownHosts].allSatisfy(MachineFiles.exists) { return nil }
        return MachineError(
            .files,
            "\(config.name) was started without keys for ssh, by an older rum or on a host without ssh-keygen",
            hint:
                "Install openssh-client if it is missing, then start the machine anew: `rum down`, `rum up`.")
    }
}
