/// Bytes on their way to a lane of `OutputQueue`.
struct OutputItem {
    /// Its place among the items of both lanes.
    var order: UInt64
    var bytes: [UInt8]
    /// Ended once all is written, or nobody can read it.
    var ticket: WriteTicket?
}

/// Items that the writer has taken over, in order.
struct OutputRun {
    private var items: [OutputItem] = []
    /// The first item that is not done, and how much of it is written.
    private var first = 0
    private var offset = 0

    var isEmpty: Bool { first == items.count }
    /// Of the first item; the highest number when there is none.
    var order: UInt64 { isEmpty ? .max : items[first].order }

    mutating func append(_ more: [OutputItem]) {
        if isEmpty {
            items.removeAll(keepingCapacity: true)
            first = 0
        }
        items += more
    }

    /// The next piece to write: the rest of the first item, and what follows it whole, up to the size of a write; no item
    /// that is younger than `limit`. Not to be asked when there is none.
    func piece(before limit: UInt64) -> ArraySlice<UInt8> {
        var piece = items[first].bytes[offset...].prefix(OutputLimits.writeSize)
        for item in items[(first + 1)...] {
            guard item.order < limit, piece.count + item.bytes.count <= OutputLimits.writeSize else { break }
            piece += item.bytes
        }
        return piece
    }

    /// Takes bytes away that are written; returns the tickets of the items that are done.
    mutating func remove(_ count: Int) -> [WriteTicket] {
        var tickets: [WriteTicket] = []
        offset += count
        while !isEmpty, offset >= items[first].bytes.count {
            offset -= items[first].bytes.count
            if let ticket = items[first].ticket { tickets.append(ticket) }
            items[first].bytes = []
            first += 1
        }
        return tickets
    }

    /// Drops all; returns their tickets.
    mutating func removeAll() -> [WriteTicket] {
        defer { self = OutputRun() }
        return items[first...].compactMap(\.ticket)
    }
}
