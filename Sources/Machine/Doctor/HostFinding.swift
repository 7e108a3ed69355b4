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
    package let cure: String?

    package init(_ check: String, _ status: Status, _ message: String, cure: String? = nil) {
        self.check = check
        self.status = status
        self.message = message
        self.cure = cure
    }

    private enum CodingKeys: CodingKey {
        case check, status, message, cure
    }

    /// Writes null for a cure that there is not, so that every key is always there.
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(check, forKey: .check)
        try container.encode(status, forKey: .status)
        try container.encode(message, forKey: .message)
        try container.encode(cure, forKey: .cure)
    }
}
