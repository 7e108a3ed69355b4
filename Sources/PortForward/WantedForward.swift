package import Ports

/// A forward that should exist.
package struct WantedForward: Hashable, Sendable {
    package enum Kind: String, Sendable {
        case auto
        case `static`
    }

    /// What makes two wanted forwards the same one.
    package struct Key: Hashable, Sendable {
        package var kind: Kind
        package var bind: BindAddress
        /// The host port that is wanted; with `onConflict` the next free one may be taken instead.
        package var hostPort: PortNumber
        package var guestPort: PortNumber
        package var allow: AllowedClients
        /// When the host port is taken.
        package var onConflict: PortRule.ConflictChoice
        package var settings: ForwardSettings

        package init(
            kind: Kind, bind: BindAddress, hostPort: PortNumber, guestPort: PortNumber,
            allow: AllowedClients = .me, onConflict: PortRule.ConflictChoice = .wait,
            settings: ForwardSettings = ForwardSettings()
        ) {
            self.kind = kind
            self.bind = bind
            self.hostPort = hostPort
            self.guestPort = guestPort
            self.allow = allow
            self.onConflict = onConflict
            self.settings = settings
        }

        /// A static forward's.
        init(_ port: StaticPort) {
            self.init(
                kind: .static, bind: port.bind, hostPort: port.host, guestPort: port.guest, allow: port.allow)
        }

        /// The host side, as users write it.
        package var hostText: String { bind.with(hostPort) }
    }

    package var key: Key
    /// Who listens in the guest; nil when nobody does, which only a static forward outlives.
    package var listener: ListeningSocket?
    /// The rule that decided; nil for a static forward, and where none matches.
    package var rule: PortRule?
    /// Whether another rule may decide once the guest has told more of the process.
    package var isUndecided: Bool
    /// Whether its rule asks the user, or an undecided one may.
    package var isAskedAbout: Bool
    /// Whether the user has not answered yet, so that it must not be open.
    package var needsAnswer: Bool

    package init(
        key: Key, listener: ListeningSocket? = nil, rule: PortRule? = nil, isUndecided: Bool = false,
        isAskedAbout: Bool = false, needsAnswer: Bool = false
    ) {
        self.key = key
        self.listener = listener
        self.rule = rule
        self.isUndecided = isUndecided
        self.isAskedAbout = isAskedAbout
        self.needsAnswer = needsAnswer
    }
}
