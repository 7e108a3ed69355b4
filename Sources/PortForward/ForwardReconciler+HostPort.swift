internal import Ports

extension ForwardReconciler {
    /// Opens the wanted host port, or the next free one where that will do, and says which.
    ///
    /// A port that another forward wants is left to that one, a static forward's also while it is not open.
    func bind(_ key: WantedForward.Key) throws(BindFailure) -> (any BoundForward, PortNumber) {
        guard key.onConflict == .next else { return (try binder.bind(key), key.hostPort) }
        var failure: BindFailure?
        if !policy.staticPorts.contains(where: { $0.host == key.hostPort }) {
            do throws(BindFailure) {
                return (try binder.bind(key), key.hostPort)
            } catch {
                guard error.isBusy else { throw error }
                failure = error
            }
        }
        for port in nextPorts(after: key.hostPort) {
            if let bound = try? binder.bind(key, on: port) { return (bound, port) }
        }
        if let failure { throw failure }
        return (try binder.bind(key), key.hostPort)
    }

    /// The host ports that the wanted forwards name, each its own.
    var claimedPorts: Set<PortNumber> {
        if let claimed { return claimed }
        let ports = Set(wanted.keys.map(\.hostPort))
        claimed = ports
        return ports
    }

    /// Whether a forward that is not wanted any more has, or waits for, a host port that another one wants.
    func isInTheWay(_ entry: ForwardEntry) -> Bool {
        !entry.isAsking && claimedPorts.contains(entry.actual.key.hostPort)
    }

    private func nextPorts(after port: PortNumber) -> some Sequence<PortNumber> {
        let claimed = claimedPorts
        let higher = (port.rawValue...PortNumber.highest.rawValue).lazy.dropFirst()
        return higher.compactMap { PortNumber($0) }.filter { !claimed.contains($0) }.prefix(
            limits.nextPorts)
    }
}
