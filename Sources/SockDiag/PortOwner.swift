package import Linux
package import Ports

/// The kernel's answer to "who would take a connection to this address and port".
package enum PortOwner: Hashable, Sendable {
    case listener(ObservedListener)
    /// Nobody. `because` is an error other than ENOENT with which the kernel said so: EINVAL or EAFNOSUPPORT where it
    /// lacks the address family, ENOMEM where it could not look.
    case nobody(because: SystemError?)

    /// The listener, nil when there is none.
    package var listener: ObservedListener? {
        if case .listener(let listener) = self { listener } else { nil }
    }
}
