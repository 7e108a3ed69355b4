internal import Glibc
internal import Linux

/// The tunnels of one loop that have carried a connection to its orderly end and may carry another one, to the same agent.
///
/// A client that comes soon after another needs no new tunnel: that saves the connect(2), the other side's accept4(2), and
/// on vsock the way there and back that a connect takes.
///
/// The agent, which knows when it is through with both directions, says that a tunnel is free (`RelayRecord.freeMark`). Until
/// then, and once it has closed it, the tunnel isn't taken.
struct SpareTunnels {
    private final class Spare {
        var tunnel: RelayEnd
        let address: SocketAddress
        /// The agent has said that it is free.
        let isFree: Bool
        /// CLOCK_MONOTONIC nanoseconds.
        let until: UInt64

        init(_ tunnel: inout RelayEnd, to address: SocketAddress, isFree: Bool, until: UInt64) {
            self.tunnel = RelayEnd(isTunnel: true)
            self.address = address
            self.isFree = isFree
            self.until = until
            self.tunnel.take(over: &tunnel)
        }
    }

    /// Oldest first.
    private var spares: [Spare] = []

    /// When the oldest is to be closed: CLOCK_MONOTONIC nanoseconds; `.max` without any.
    var nextDeadline: UInt64 { spares.first?.until ?? .max }

    /// Keeps the tunnel of a connection that has ended.
    ///
    /// - Parameters:
    ///   - until: when it is closed; not before that of one that was given earlier.
    ///   - most: of more than these the oldest is closed.
    mutating func give(
        _ tunnel: inout RelayEnd, to address: SocketAddress, isFree: Bool, until: UInt64, most: Int
    ) {
        spares.append(Spare(&tunnel, to: address, isFree: isFree, until: until))
        if spares.count > most { spares.removeFirst() }
    }

    /// Takes the tunnel to this address that was used last; false where none is free.
    mutating func take(_ address: SocketAddress, into tunnel: inout RelayEnd) -> Bool {
        for index in spares.indices.reversed() where spares[index].address == address {
            switch Self.look(spares[index]) {
            case .busy: continue
            case .gone: spares.remove(at: index)
            case .free:
                tunnel.take(over: &spares.remove(at: index).tunnel)
                return true
            }
        }
        return false
    }

    /// Closes those whose time is up.
    mutating func expire(_ now: UInt64) { spares.removeAll { $0.until <= now } }

    mutating func closeAll() { spares = [] }

    private enum State { case free, busy, gone }

    /// Reads what has come since: nothing, that it is free, or its end.
    private static func look(_ spare: Spare) -> State {
        var byte: UInt8 = 0
        let result = withUnsafeMutableBytes(of: &byte) { spare.tunnel.receive($0) }
        return switch (result, spare.isFree) {
        case (.wouldBlock, true): .free
        case (.wouldBlock, false): .busy
        case (.moved(1), false) where byte == RelayRecord.freeMark: .free
        default: .gone
        }
    }
}
