/// Who on this host may connect to a forward that is bound to a loopback address.
package enum AllowedClients: String, Hashable, Sendable, CaseIterable {
    /// The user who runs rum, and root.
    case me
    /// Every user of this host.
    case host
}
