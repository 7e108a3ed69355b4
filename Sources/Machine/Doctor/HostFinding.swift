package import Linux

/// One thing that a machine needs of this host: how it is, and what to do about it.
package struct HostFinding: Hashable, Sendable, Encodable {
    package enum Status: String, Hashable, Sendable, Encodable {
        case ok
        /// It works, but not as well as it could.
        case warn
        /// `rum up` cannot work.
        case fail
    }

    /// A short word that stays the same: `libvirt`, `accelerator`.
    package let check: String
    package let status: Status
    package let message: String
    /// What the user can do; nil where there is nothing to do.
    @OrNull package private(set) var cure: String?

    package init(_ check: String, _ status: Status, _ message: String, cure: String? = nil) {
        self.check = check
        self.status = status
        self.message = message
        self.cure = cure
    }
}
