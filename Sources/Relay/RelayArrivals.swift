internal import Glibc
internal import Linux

/// Looks at what an arriving client says until its role's entrance decides what becomes of it.
final class RelayArrivals {
    private let entrance: RelayEntrance
    private var looks = 0
    private var isGreeted = false

    init(_ entrance: RelayEntrance) { self.entrance = entrance }

    /// Looks once; nil when the connection has another stage by now.
    func look(_ connection: RelayConnection, _ loop: RelayLoop) -> RelayConnection.Verdict? {
        // Before the look: what comes between is told by an event of its own.
        let hasEnded = connection.local.hungUp
        let memory = UnsafeMutableRawBufferPointer(
            rebasing: loop.resources.scratch.memory.prefix(RelayEntrance.mostBytes))
        looks += 1
        switch connection.local.receive(memory, flags: Int32(MSG_PEEK)) {
        case .wouldBlock: return looks < RelayEntrance.mostLooks ? .waiting : connection.fail()
        case .failed, .moved(0): return connection.fail()
        case .moved(let count):
            let isAll = hasEnded || count == memory.count || looks >= RelayEntrance.mostLooks
            let arrival = RelayArrival(
                bytes: UnsafeRawBufferPointer(rebasing: memory[..<count]), isAll: isAll,
                isGreeted: isGreeted, socket: connection.local.fd)
            return carryOut(entrance.decide(arrival), isAll: isAll, connection, loop)
        }
    }

    private func carryOut(
        _ decision: RelayDecision, isAll: Bool, _ connection: RelayConnection, _ loop: RelayLoop
    ) -> RelayConnection.Verdict? {
        switch decision {
        case .wait: return isAll ? connection.fail() : .waiting
        case .greet(let bytes):
            // A new socket has room for a few bytes.
            guard !isGreeted, !isAll,
                case .moved(bytes.count) = bytes.withUnsafeBytes({ connection.local.transmit($0) })
            else { return connection.fail() }
            isGreeted = true
            return .waiting
        case .relay(let target, let count, let bytes):
            return relay(connection, to: target, replacing: count, with: bytes, loop)
        case .answer(let bytes):
            admit(connection, loop)
            connection.answer(with: bytes)
            return nil
        case .handedOver:
            loop.detach(&connection.local)
            return .done
        case .reset: return connection.fail()
        }
    }

    private func relay(
        _ connection: RelayConnection, to target: RelayTarget, replacing count: Int, with bytes: [UInt8],
        _ loop: RelayLoop
    ) -> RelayConnection.Verdict? {
        if let admits = target.role.admitsClient {
            let socket = connection.local.fd
            guard let address = try? StreamSocket.peerAddress(socket),
                let server = try? StreamSocket.localAddress(socket),
                admits(RelayClient(socket: socket, address: address, server: server))
            else {
                target.tally.addRefusal()
                return connection.abort()
            }
        }
        if count > 0 {
            let memory = UnsafeMutableRawBufferPointer(rebasing: loop.resources.scratch.memory.prefix(count))
            // They have been seen there.
            guard case .moved(count) = connection.local.receive(memory) else { return connection.fail() }
        }
        admit(connection, loop)
        connection.move(to: target, leading: bytes)
        return nil
    }

    private func admit(_ connection: RelayConnection, _ loop: RelayLoop) {
        if connection.isSilent { loop.admit(connection) }
    }
}
