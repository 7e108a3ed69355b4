package import Ports

/// The table of a port range whenever it changes: the present one at once, then one for each change.
///
/// A reader that is slow gets the newest table and misses those between; nothing piles up. The sequence ends when
/// the watcher stops or the reading task is cancelled.
package struct ListenTables: AsyncSequence, Sendable {
    package typealias Element = ListenTable

    let board: TableBoard
    let range: PortRange

    package func makeAsyncIterator() -> Iterator {
        Iterator(base: board.subscribe().makeAsyncIterator(), range: range)
    }

    package struct Iterator: AsyncIteratorProtocol {
        var base: AsyncStream<ListenTable>.Iterator
        let range: PortRange
        private var last: ListenTable?

        init(base: AsyncStream<ListenTable>.Iterator, range: PortRange) {
            self.base = base
            self.range = range
        }

        package mutating func next() async -> ListenTable? {
            await next(isolation: nil)
        }

        package mutating func next(isolation actor: isolated (any Actor)?) async -> ListenTable? {
            while let whole = await base.next(isolation: actor) {
                let table = range == .all ? whole : whole.restricted(to: range)
                if let last, last.sameContent(as: table) { continue }
                last = table
                return table
            }
            return nil
        }
    }
}
