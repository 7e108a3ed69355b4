/// The connections of one loop, each in a slot that is used again after it; a slot's generation tells a late event for
/// its former user apart.
struct ConnectionTable {
    private var slots: [RelayConnection?] = []
    private var generations: [UInt32] = []
    private var free: [Int] = []

    /// How many there are.
    var count: Int { slots.count - free.count }

    /// All of them, as they are at the time of the call.
    var all: [RelayConnection] { slots.compactMap { $0 } }

    /// The connection that an event is for; nil when it has ended.
    subscript(token: EventToken) -> RelayConnection? {
        guard token.slot < slots.count, let connection = slots[token.slot],
            connection.token == token.localSide
        else { return nil }
        return connection
    }

    /// Puts a new connection into a slot; `make` gets the token its events will carry.
    mutating func add(_ make: (EventToken) -> RelayConnection) -> RelayConnection {
        let slot = free.popLast() ?? slots.count
        if slot == slots.count {
            slots.append(nil)
            generations.append(0)
        }
        generations[slot] &+= 1
        let connection = make(EventToken(slot: slot, generation: generations[slot]))
        slots[slot] = connection
        return connection
    }

    mutating func remove(_ connection: RelayConnection) {
        slots[connection.token.slot] = nil
        free.append(connection.token.slot)
    }

    /// The earliest deadline of all.
    var nextDeadline: UInt64 {
        var next = UInt64.max
        for case let connection? in slots { next = min(next, connection.deadline) }
        return next
    }
}
