internal import Linux

/// What a machine is given at every boot on its NoCloud disk: user, agent, token, provisioning.
///
/// cloud-init only makes the user and runs `install` from the seed. Everything that may change between two boots
/// is a file beside it, so that a new agent or script needs no new instance id.
struct GuestSeed: Hashable, Sendable {
    /// New for every fresh disk; cloud-init then repeats its first-boot work.
    var instanceID: String
    var hostname: String
    var user: String
    var authorizedKeys: [String]
    /// The key of the guest's sshd; nil leaves it to cloud-init to make some.
    var hostKey: SSHKeys.Host?
    /// What the agent listens on, such as `vsock`.
    var listen: [String]
    /// What it listens on in a guest that has no vsock after all; nil: on the same.
    var listenWithoutVsock: [String]?
    /// The agent's token in its written form.
    var token: String
    /// The SHA-256 of the agent's bundle; the guest installs the bundle when it has another one.
    var bundleDigest: String
    /// Run as root until it succeeded once.
    var systemScript: String?
    /// Run as root at every boot.
    var bootScript: String?
    /// The user ID that `user` gets where it is free; nil leaves it to the guest.
    var userID: UInt32?
    /// The folders of the host that are mounted at every boot.
    var mounts: [Mount] = []

    struct Mount: Hashable, Sendable {
        /// The guest's type of file system: `virtiofs` or `9p`.
        var type: String
        /// What the device is known by.
        var tag: String
        var isReadOnly: Bool
        var path: String
    }

    /// The files of the seed but the bundle itself, which is `rum-agent.tar.gz`.
    var files: [String: String] {
        var files = [
            "meta-data": metaData,
            "user-data": userData,
            "install": Self.text(PackageResources.install_sh),
            "provision": Self.text(PackageResources.provision_sh),
            "provision-report": Self.text(PackageResources.provision_report_sh),
            "read-seed": Self.text(PackageResources.read_seed_sh),
            "listen": Self.arguments(listen),
            "rum-agent.service": Self.agentUnit,
            "rum-agent.init": Self.text(PackageResources.agent_service_sh),
            "rum-agent.openrc": Self.openRCScript,
            "rum-seed.service": Self.seedUnit,
            "rum-provision.service": provisionUnit,
            "rum-agent.sha256": bundleDigest + "\n",
            "token": token + "\n",
            "user": "\(user)\n\(userID.map { "\($0)" } ?? "")\n",
            "authorized_keys": authorizedKeys.map { $0 + "\n" }.joined(),
            "make-user": Self.text(PackageResources.make_user_sh),
            "mount-folders": Self.text(PackageResources.mount_folders_sh),
        ]
        files["ssh_host_ed25519_key"] = hostKey?.privateKey
        files["ssh_host_ed25519_key.pub"] = hostKey?.publicKey
        // The path comes last, since it may hold spaces.
        files["mounts"] =
            mounts.isEmpty
            ? nil
            : mounts.sorted { $0.path < $1.path }.map {
                "\($0.type) \($0.tag) \($0.isReadOnly ? "ro" : "rw") \($0.path)\n"
            }.joined()
        files["listen-without-vsock"] = listenWithoutVsock.map(Self.arguments)
        files["provision-system"] = systemScript.map(Self.script)
        files["provision-boot"] = bootScript.map(Self.script)
        return files
    }

    private var metaData: String {
        "instance-id: \(Self.quote(instanceID))\nlocal-hostname: \(Self.quote(hostname))\n"
    }

    /// cloud-config; bootcmd is run at every boot, before the user is made, which is as early as the agent can be
    /// there on the first one.
    private var userData: String {
        """
        #cloud-config
        ssh_pwauth: false
        \(account)\(sshKeys)
        bootcmd:
          - |
            install -d -m 0700 /run/rum-seed
            mount -o ro "$(blkid -L CIDATA)" /run/rum-seed &&
              { sh /run/rum-seed/install; umount /run/rum-seed; }

        """
    }

    /// On a fresh disk cloud-init removes the host keys that came with the image; these take their place.
    private var sshKeys: String {
        guard let hostKey else { return "" }
        return """

            ssh_keys:
              ed25519_private: \(Self.quote(hostKey.privateKey))
              ed25519_public: \(Self.quote(hostKey.publicKey))
            """
    }

    private var account: String {
        let keys = "[" + authorizedKeys.map(Self.quote).joined(separator: ", ") + "]"
        if user == "root" { return "disable_root: false\nssh_authorized_keys: \(keys)" }
        return """
            users:
              - name: \(Self.quote(user))
                shell: /bin/bash
                lock_passwd: true
                sudo: "ALL=(ALL) NOPASSWD:ALL"
                ssh_authorized_keys: \(keys)
            """
    }

    /// The agent needs neither network nor time, so it starts as soon as the file systems are there. Its log goes
    /// to the console too, where the host records it. What `rum exec` has started outlives the agent (KillMode), and the
    /// agent outlives a command that the OOM killer ends (OOMPolicy). A guest whose agent answers has the host's folders:
    /// at later boots cloud-init would mount them long after that.
    static let agentUnit = """
        [Unit]
        Description=rum agent
        DefaultDependencies=no
        After=local-fs.target
        Conflicts=shutdown.target
        Before=shutdown.target
        StartLimitIntervalSec=0

        [Service]
        ExecStartPre=-/bin/sh -c 'modprobe -qa vmw_vsock_virtio_transport inet_diag tcp_diag'
        ExecStartPre=-/bin/sh -c '[ -e /run/rum/folders-mounted ] || sh /var/lib/rum/read-seed mount-folders'
        ExecStart=@PROGRAM@ @LISTEN@ --token-file /etc/rum/token --ports-file /run/rum/ports.json
        Restart=always
        RestartSec=200ms
        KillMode=process
        LimitNOFILE=1048576
        OOMScoreAdjust=-900
        OOMPolicy=continue
        StandardOutput=journal+console
        StandardError=journal+console

        [Install]
        WantedBy=multi-user.target

        """

    static func arguments(_ listen: [String]) -> String {
        listen.map { "--listen \($0)" }.joined(separator: " ") + "\n"
    }

    /// For guests without cloud-init, in which `install` was run by hand.
    private static let seedUnit = """
        [Unit]
        Description=Read the seed of rum
        ConditionPathExists=!/run/rum/install.log

        [Service]
        Type=oneshot
        ExecStart=/bin/sh /var/lib/rum/read-seed
        StandardOutput=journal+console
        StandardError=journal+console

        [Install]
        WantedBy=multi-user.target

        """

    static let openRCScript = """
        #!/sbin/openrc-run
        description="rum agent"
        depend() { after localmount; }
        start() { /var/lib/rum/agent-service start; }
        stop() { /var/lib/rum/agent-service stop; }

        """

    /// Started by `install`, not enabled, so that it never runs scripts of the boot before.
    private var provisionUnit: String {
        """
        [Unit]
        Description=rum provisioning
        Wants=network-online.target
        After=network-online.target rum-agent.service cloud-final.service

        [Service]
        Type=oneshot
        RemainAfterExit=yes
        Environment=RUM_USER=\(user)
        ExecStart=/bin/sh /var/lib/rum/provision
        TimeoutStartSec=infinity
        SyslogIdentifier=rum-provision
        StandardOutput=journal+console
        StandardError=journal+console

        """
    }

    /// A file of Seed/scripts. They are compiled into the program, which so stays a single file.
    static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    /// Without an interpreter of its own a script is run by sh, and stops at the first command that fails.
    private static func script(_ text: String) -> String {
        let ended = text.hasSuffix("\n") ? text : text + "\n"
        return ended.hasPrefix("#!") ? ended : "#!/bin/sh -e\n" + ended
    }

    /// A double-quoted YAML scalar. Whatever YAML cannot hold (1.2, 5.1) or reads as the end of a line is escaped.
    private static func quote(_ text: String) -> String {
        let escaped = text.unicodeScalars.reduce(into: "") { result, scalar in
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case _ where !scalar.isPrintable:
                result += "\\U" + scalar.value.hexadecimal(digits: 8)
            default: result.unicodeScalars.append(scalar)
            }
        }
        return "\"\(escaped)\""
    }

    /// A host name made of a machine's name: letters, digits and hyphens only (RFC 1123, 2.1).
    static func hostname(for machine: String) -> String {
        let name = String(machine.map { $0.isLetter || $0.isNumber ? $0 : "-" })
        return name.hasSuffix("-") ? name + "0" : name
    }
}
