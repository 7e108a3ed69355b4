internal import Linux

/// Everything that listens in a guest, or in a range of its ports, at one moment.
package struct ListenTable: Equatable, Sendable {
    /// Grows with every published change of one agent; meaningless across agent starts.
    package var revision: UInt64
    package var source: ListenSource
    /// Sorted by port, address and interface, one entry a key.
    package private(set) var listeners: [ListeningSocket]

    /// Sorts `listeners` and merges those with the same key: the entry that knows its process wins.
    package init(revision: UInt64, source: ListenSource, listeners: [ListeningSocket]) {
        self.revision = revision
        self.source = source
        self.listeners = Self.normalised(listeners)
    }

    /// The ports that listen, sorted, without duplicates.
    package var ports: [PortNumber] {
        var result: [PortNumber] = []
        for listener in listeners where result.last != listener.port { result.append(listener.port) }
        return result
    }

    /// The listeners of one port; found by bisection.
    package func listeners(on port: PortNumber) -> ArraySlice<ListeningSocket> {
        var (low, high) = (listeners.startIndex, listeners.endIndex)
        while low < high {
            let middle = (low + high) / 2
            if listeners[middle].port < port { low = middle + 1 } else { high = middle }
        }
        return listeners[low...].prefix { $0.port == port }
    }

    /// The part of the table whose ports lie in `range`.
    package func restricted(to range: PortRange) -> ListenTable {
        var copy = self
        copy.listeners = listeners.filter { range.contains($0.port) }
        return copy
    }

    /// The table with what is known of its processes.
    package func described(by details: (ListeningProcess) -> ProcessDetails?) -> ListenTable {
        var copy = self
        for index in listeners.indices {
            guard let process = listeners[index].process else { continue }
            copy.listeners[index].process?.details = details(process)
        }
        return copy
    }

    /// The table with names of processes of at most so many Unicode scalars.
    package func cuttingNames(to limit: Int) -> ListenTable {
        var copy = self
        // Almost never is any so long, and then nothing is copied.
        for index in listeners.indices {
            guard let name = listeners[index].process?.name, name.utf8.count > limit else { continue }
            copy.listeners[index].process?.name = name.cut(to: limit)
        }
        return copy
    }

    /// The same listeners from the same source, whatever the revision.
    package func sameContent(as other: ListenTable) -> Bool {
        source == other.source && listeners == other.listeners
    }

    private static func normalised(_ listeners: [ListeningSocket]) -> [ListeningSocket] {
        // As they mostly come.
        if zip(listeners, listeners.dropFirst()).allSatisfy({ $0.key < $1.key }) { return listeners }
        var result: [ListeningSocket] = []
        result.reserveCapacity(listeners.count)
        for listener in listeners.sorted(by: { $0.key < $1.key }) {
            if let last = result.last, last.key == listener.key {
                if last.process == nil { result[result.count - 1] = listener }
            } else {
                result.append(listener)
            }
        }
        return result
    }
}

/// Where a table comes from and how far it can be trusted.
package struct ListenSource: Hashable, Sendable {
    package var mode: ListenMode
    package var push: PushLevel
    /// What is worse than it could be here, and why: the newest snapshot failed, so that the table is the last good
    /// one; or mode or push is not the best that was asked for. nil when all is well.
    package var degraded: String?

    package init(mode: ListenMode, push: PushLevel, degraded: String? = nil) {
        self.mode = mode
        self.push = push
        self.degraded = degraded
    }
}

/// What answers "which sockets listen".
package enum ListenMode: String, Sendable, CaseIterable {
    case netlink
    case procfs
}

/// What says "look again", best first.
package enum PushLevel: String, Sendable, CaseIterable {
    /// BPF programs at the kernel's own functions for listeners: the same, of this network namespace alone, and nothing for
    /// any connection. Not on every kernel.
    case bpf
    /// The tracepoint `sock:inet_sock_set_state`: opens and closes within microseconds.
    case tracepoint
    /// A timer alone.
    case poll
}
