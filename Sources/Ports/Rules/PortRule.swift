/// One of `[[auto_ports.rule]]`: what becomes of the guest's ports that match it. The first rule that matches decides.
package struct PortRule: Hashable, Sendable {
    package enum Action: String, Hashable, Sendable, CaseIterable {
        case forward, ignore
        /// Forward once the user has said yes.
        case ask
    }

    /// What to do when another program holds the host port.
    package enum ConflictChoice: String, Hashable, Sendable, CaseIterable {
        /// Forward as soon as the port is free.
        case wait
        /// Take the next host port that is free.
        case next
        /// Do not forward, until the listener goes and another one comes.
        case fail
    }

    /// How often the page of a port is opened in the user's browser.
    package enum PageOpening: String, Hashable, Sendable, CaseIterable {
        /// When the port is opened for the first time while rum runs.
        case once
        /// Each time it is opened.
        case always
    }

    /// The scheme of the port's URL.
    package enum URLScheme: String, Hashable, Sendable, CaseIterable {
        case http, https
    }

    package var match: PortMatch
    package var action = Action.forward
    /// A name for people and for host names: lower-case letters, digits and `-`.
    package var label: String?
    /// The host port of the lowest port that matches; the others follow at the same distance.
    package var firstHostPort: PortNumber?
    package var onConflict = ConflictChoice.wait
    package var settings = ForwardSettings()
    package var opensPage: PageOpening?
    package var scheme = URLScheme.http
    /// Where it is in rum.toml; nil when it has another source.
    package var line: Int?

    package init(match: PortMatch = PortMatch()) { self.match = match }

    /// The host port for a guest port that matches; nil when there is no such port.
    package func hostPort(for guest: PortNumber) -> PortNumber? {
        guard let firstHostPort, let first = match.lowestPort else { return guest }
        let number = Int(guest.rawValue) - Int(first.rawValue) + Int(firstHostPort.rawValue)
        return PortNumber(exactly: number)
    }
}
