package import ListenTable

/// Where the service gets its tables; the watcher in the agent, scripted tables in tests.
package protocol ListenTableProvider: Sendable {
    /// The newest table of `range`.
    func current(in range: PortRange) async -> ListenTable

    /// The current table at once, then the newest after each change; a slow reader skips what it missed.
    func tables(in range: PortRange) -> AsyncStream<ListenTable>

    /// How the tables are made right now.
    var source: ListenSource { get }
}
