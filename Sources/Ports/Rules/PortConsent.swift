/// What the user has answered about a port of the guest whose rule asks (`PortRule.Action.ask`).
package enum PortConsent: String, Hashable, Sendable, CaseIterable {
    case allow, deny
}
