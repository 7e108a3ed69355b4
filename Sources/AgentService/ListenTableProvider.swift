package import Ports

/// Where the service gets its tables; the watcher in the agent, scripted tables in tests.
package protocol ListenTableProvider: Sendable {
    associatedtype Tables: AsyncSequence<ListenTable, Never>, Sendable

    /// The newest table of `range`.
    func current(in range: PortRange) -> ListenTable

    /// The current table at once, then the newest after each change; a slow reader skips what it missed.
    func tables(in range: PortRange) -> Tables

    /// How the tables are made right now.
    var source: ListenSource { get }

    /// Why the push level is not the best there is although nothing is wrong.
    var pushReason: String? { get }
}
