/// What a machine is given at every boot on its NoCloud disk: user, agent, token, provisioning.
///
/// cloud-init only makes the user and runs `install` from the seed. Everything that may change between two boots
/// is a file beside it, so that a new agent or script needs no new instance id.
package struct GuestSeed: Hashable, Sendable {
    /// New for every fresh disk; cloud-init then repeats its first-boot work.
    package var instanceID: String
    package var hostname: String
    package var user: String
    package var authorizedKeys: [String]
    /// What the agent listens on, such as `vsock`.
    package var listen: [String]
    /// The agent's token in its written form.
    package var token: String
    /// The SHA-256 of the agent's bundle; the guest installs the bundle when it has another one.
    package var bundleDigest: String
    /// Run as root until it succeeded once.
    package var systemScript: String?
    /// Run as root at every boot.
    package var bootScript: String?

    /// The files of the seed but the bundle itself, which is `rum-agent.tar.gz`.
    package var files: [String: String] {
        var files = [
            "meta-data": metaData,
            "user-data": userData,
            "install": Self.install,
            "provision": Self.provision,
            "rum-agent.service": agentUnit,
            "rum-provision.service": provisionUnit,
            "rum-agent.sha256": bundleDigest + "\n",
            "token": token + "\n",
        ]
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
        \(account)
        bootcmd:
          - |
            install -d -m 0700 /run/rum-seed
            mount -o ro "$(blkid -L CIDATA)" /run/rum-seed &&
              { sh /run/rum-seed/install; umount /run/rum-seed; }

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
    /// agent outlives a command that the OOM killer ends (OOMPolicy).
    private var agentUnit: String {
        """
        [Unit]
        Description=rum agent
        DefaultDependencies=no
        After=local-fs.target
        Conflicts=shutdown.target
        Before=shutdown.target
        StartLimitIntervalSec=0

        [Service]
        ExecStartPre=-/bin/sh -c 'modprobe -qa vmw_vsock_virtio_transport inet_diag tcp_diag'
        ExecStart=/opt/rum/rum-agent \(agentArguments)
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
    }

    private var agentArguments: String {
        (listen.map { "--listen \($0)" } + ["--token-file /etc/rum/token"]).joined(separator: " ")
    }

    /// Started by `install`, not enabled, so that it never runs scripts of the boot before.
    private var provisionUnit: String {
        """
        [Unit]
        Description=rum provisioning
        Wants=network-online.target
        After=network-online.target rum-agent.service

        [Service]
        Type=oneshot
        RemainAfterExit=yes
        Environment=RUM_USER=\(user)
        ExecStart=/bin/sh /var/lib/rum/provision
        TimeoutStartSec=infinity
        StandardOutput=journal+console
        StandardError=journal+console

        """
    }

    /// Run from the mounted seed at every boot. It starts with `--no-block`, since cloud-init itself is part of
    /// the boot that the units wait for.
    private static let install = """
        #!/bin/sh
        # Brings the agent, its token and the provisioning scripts up to date with the seed.
        set -eu
        seed=$(dirname "$0")

        install -d -m 0700 /etc/rum
        install -d -m 0755 /var/lib/rum
        install -m 0600 "$seed/token" /etc/rum/token

        changed=
        reload=
        if ! cmp -s "$seed/rum-agent.sha256" /opt/rum/bundle.sha256; then
            changed=yes
            rm -rf /opt/rum.new
            mkdir -p /opt/rum.new
            tar -xzf "$seed/rum-agent.tar.gz" -C /opt/rum.new
            cp "$seed/rum-agent.sha256" /opt/rum.new/bundle.sha256
            rm -rf /opt/rum
            mv /opt/rum.new /opt/rum
        fi

        for script in provision provision-system provision-boot; do
            rm -f "/var/lib/rum/$script"
            if [ -e "$seed/$script" ]; then install -m 0700 "$seed/$script" "/var/lib/rum/$script"; fi
        done

        for unit in rum-agent.service rum-provision.service; do
            if ! cmp -s "$seed/$unit" "/etc/systemd/system/$unit"; then
                changed=yes
                # systemd reads a new unit by itself; a reload takes seconds under emulation.
                if [ -e "/etc/systemd/system/$unit" ]; then reload=yes; fi
                install -m 0644 "$seed/$unit" "/etc/systemd/system/$unit"
            fi
        done
        mkdir -p /etc/systemd/system/multi-user.target.wants
        ln -sf ../rum-agent.service /etc/systemd/system/multi-user.target.wants/rum-agent.service
        if [ "$reload" ]; then systemctl daemon-reload; fi
        if [ "$changed" ]; then systemctl restart --no-block rum-agent.service; fi
        systemctl start --no-block rum-provision.service

        """

    private static let provision = """
        #!/bin/sh
        # The scripts of rum.toml: the first until it has succeeded once, the second at every boot. They may count on
        # the user, whom cloud-init makes meanwhile, and on the network where there is one.
        set -eu
        cd /
        tries=600
        until id "$RUM_USER" && cut -f 2 /proc/net/route | grep -q '^00000000$' || [ $tries = 0 ]; do
            tries=$((tries - 1))
            sleep 0.1
        done >/dev/null 2>&1
        if [ -e /var/lib/rum/provision-system ] && [ ! -e /var/lib/rum/provisioned ]; then
            /var/lib/rum/provision-system
            touch /var/lib/rum/provisioned
        fi
        if [ -e /var/lib/rum/provision-boot ]; then /var/lib/rum/provision-boot; fi

        """

    /// Without an interpreter of its own a script is run by sh, and stops at the first command that fails.
    private static func script(_ text: String) -> String {
        let ended = text.hasSuffix("\n") ? text : text + "\n"
        return ended.hasPrefix("#!") ? ended : "#!/bin/sh -e\n" + ended
    }

    /// A double-quoted YAML scalar, which a JSON string always is.
    private static func quote(_ text: String) -> String {
        let escaped = text.unicodeScalars.reduce(into: "") { result, scalar in
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case _ where scalar.value < 32 || scalar.value == 127:
                let digits = String(scalar.value, radix: 16)
                result += "\\x" + (digits.count < 2 ? "0" : "") + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return "\"\(escaped)\""
    }

    /// A host name made of a machine's name: letters, digits and hyphens only (RFC 1123, 2.1).
    package static func hostname(for machine: String) -> String {
        let name = String(machine.map { $0.isLetter || $0.isNumber ? $0 : "-" })
        return name.hasSuffix("-") ? name + "0" : name
    }
}
