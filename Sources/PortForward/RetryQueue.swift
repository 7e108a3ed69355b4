/// The blocked ports in the order in which they are tried again.
struct RetryQueue {
    struct Item {
        /// CLOCK_MONOTONIC nanoseconds.
        var at: UInt64
        var key: WantedForward.Key
        /// Of the entry it is about; another one is under this key when the port was given up in the meantime.
        var id: UInt64
    }

    private var items: [Item] = []
    /// The first that has not been taken.
    private var first = 0

    /// When the next one is due; nil when none is left.
    var nextAt: UInt64? { first < items.count ? items[first].at : nil }

    /// Nearly always goes to the end.
    mutating func add(_ item: Item) {
        var place = items.count
        while place > first, items[place - 1].at > item.at { place -= 1 }
        items.insert(item, at: place)
    }

    /// Takes the next one, if it is due.
    mutating func takeDue(at now: UInt64) -> Item? {
        guard first < items.count, items[first].at <= now else { return nil }
        defer {
            first += 1
            if first > items.count / 2 {
                items.removeFirst(first)
                first = 0
            }
        }
        return items[first]
    }
}
