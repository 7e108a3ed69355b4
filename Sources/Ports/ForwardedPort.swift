/// A port of the guest and where the host has it open.
package struct ForwardedPort: Hashable, Sendable {
    package var guest: PortNumber
    package var host: PortNumber
    package var bind: BindAddress

    package init(guest: PortNumber, host: PortNumber, bind: BindAddress) {
        self.guest = guest
        self.host = host
        self.bind = bind
    }
}
