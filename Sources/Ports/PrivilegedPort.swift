extension PortNumber {
    /// Whether only root may bind it, unless the owner of the host says otherwise (ip(7), ip_unprivileged_port_start).
    package var isPrivileged: Bool { rawValue < 1024 }

    /// What an ordinary user can do where this port, a privileged one, is wanted on the host.
    package var cureForPrivilege: String {
        """
        take a higher host port, or: sudo sysctl net.ipv4.ip_unprivileged_port_start=\(self), or: sudo setcap \
        cap_net_bind_service+ep $(readlink -f $(which rum))
        """
    }
}
