internal import AgentAPI
internal import AgentChannel
internal import NIOCore
internal import Synchronization

/// Keeps strangers from using up a server: a connection has to prove itself, by a call with the right token, and those
/// that have not yet are few and short-lived.
///
///     accepted -> silent -- first bytes --> speaking -- a call with the token --> proven, stays
///                   |                          |
///                   +--- after a time limit, or when too many others are unproven: closed
///
/// When one more comes than there may be, the oldest silent one of the others goes, else the oldest speaking one. A host speaks
/// as soon as it is connected, so it outlives a flood of connections that say nothing; and it is let in beside many that only
/// speak. Where no token is set, any call is proof.
final class ConnectionGate: Sendable {
    struct Limits {
        var unproven = AgentLimits.unprovenConnections
        var proof = AgentLimits.proof
    }

    /// How a connection is known here.
    typealias Key = ObjectIdentifier

    private enum Stage { case silent, speaking, proven }

    private struct Connection {
        let channel: any Channel
        var stage = Stage.silent
        /// What gRPC made of the channel. gRPC's own writer for a connection crashes when it is dropped before the
        /// connection has closed, as when the server ends between accept and the first read; so it is kept until then.
        var configured: (any Sendable)?
        var deadline: Scheduled<Void>?
    }

    private struct State {
        var connections: [Key: Connection] = [:]
        /// Oldest first, and short.
        var unproven: [Key] = []
        var listeners: [any Channel] = []
        var isClosed = false
    }

    private let token: MachineToken?
    private let limits: Limits
    private let state = Mutex(State())

    init(token: MachineToken?, limits: Limits = Limits()) {
        self.token = token
        self.limits = limits
    }

    /// Closes the listener together with all connections.
    func listen(on listener: any Channel) {
        let isClosed = state.withLock { state in
            state.listeners.append(listener)
            return state.isClosed
        }
        if isClosed { listener.close(promise: nil) }
    }

    /// Takes a new connection in, on its event loop.
    ///
    /// - Throws: when the server ends; then the connection is the caller's to close.
    func admit(_ channel: any Channel) throws {
        let key = Key(channel)
        let deadline = channel.eventLoop.scheduleTask(in: TimeAmount(limits.proof)) {
            [weak self] () -> Void in
            self?.close(ifUnproven: key)
        }
        let (isClosed, excess): (Bool, (any Channel)?) = state.withLock { state in
            guard !state.isClosed else { return (true, nil) }
            state.connections[key] = Connection(channel: channel, deadline: deadline)
            state.unproven.append(key)
            guard state.unproven.count > limits.unproven else { return (false, nil) }
            // Every new one is silent.
            let silent = state.unproven.dropLast().firstIndex { state.connections[$0]?.stage == .silent }
            let victim = state.unproven.remove(at: silent ?? 0)
            return (false, state.connections[victim]?.channel)
        }
        if isClosed {
            deadline.cancel()
            throw ChannelError.ioOnClosedChannel
        }
        channel.closeFuture.whenComplete { [weak self] _ in self?.forget(key) }
        excess?.close(promise: nil)
    }

    /// Keeps what gRPC made of a connection until the connection has closed.
    func hold(_ configured: any Sendable, for channel: any Channel) {
        state.withLock { $0.connections[Key(channel)]?.configured = configured }
    }

    /// The first bytes have come.
    func heard(from channel: any Channel) {
        state.withLock { state in
            guard state.connections[Key(channel)]?.stage == .silent else { return }
            state.connections[Key(channel)]?.stage = .speaking
        }
    }

    /// A call has come, with this token in its metadata, if any.
    func called(on channel: any Channel, showing shown: String?) {
        if let token {
            guard let shown, let other = MachineToken(text: shown), token.matches(other) else { return }
        }
        let key = Key(channel)
        let deadline: Scheduled<Void>? = state.withLock { state in
            guard state.connections[key]?.stage != .proven else { return nil }
            state.connections[key]?.stage = .proven
            state.unproven.removeAll { $0 == key }
            return state.connections[key]?.deadline
        }
        deadline?.cancel()
    }

    /// Closes the listeners and every connection, and those that are still to come.
    func close() {
        let channels = state.withLock { state in
            state.isClosed = true
            return state.listeners + state.connections.values.map(\.channel)
        }
        for channel in channels { channel.close(promise: nil) }
    }

    /// How many connections are open, and how many of them are unproven.
    var counts: (all: Int, unproven: Int) {
        state.withLock { ($0.connections.count, $0.unproven.count) }
    }

    private func close(ifUnproven key: Key) {
        let channel = state.withLock { state -> (any Channel)? in
            guard let connection = state.connections[key], connection.stage != .proven else { return nil }
            return connection.channel
        }
        channel?.close(promise: nil)
    }

    private func forget(_ key: Key) {
        // What gRPC made of it is dropped outside of the lock.
        let gone = state.withLock { state in
            state.unproven.removeAll { $0 == key }
            return state.connections.removeValue(forKey: key)
        }
        gone?.deadline?.cancel()
    }
}
