import Glibc
import Linux
import PortForward
import Ports
import Synchronization

/// Opens nothing and writes down everything. Ports can be made busy or faulty from outside.
final class RecordingBinder: ForwardBinder {
    struct Open: Hashable {
        var id: UInt64
        var key: WantedForward.Key
    }

    private struct State {
        var open: [UInt64: WantedForward.Key] = [:]
        var nextID: UInt64 = 0
        var faults: [UInt16: Int32] = [:]
        var closedTwice = 0
        var resets: [UInt64] = []
        var searches = 0
        var tries = 0
        var retriesOfHeld = 0
        var noted: [UInt16] = []
    }

    private let state = Mutex(State())

    var openKeys: [WantedForward.Key] { state.withLock { Array($0.open.values) } }
    var openPorts: [UInt16] { openKeys.map(\.hostPort.rawValue).sorted() }
    var closedTwice: Int { state.withLock { $0.closedTwice } }
    /// The times given to resetConnections.
    var resets: [UInt64] { state.withLock { $0.resets } }
    /// How often connections that the guest has lost were looked for.
    var searches: Int { state.withLock { $0.searches } }
    var tries: Int { state.withLock { $0.tries } }
    /// The host ports of what there is to be, as told last.
    var noted: [UInt16] { state.withLock { $0.noted } }
    /// How often clients that wait were told to try again.
    var retriesOfHeld: Int { state.withLock { $0.retriesOfHeld } }

    /// Makes binds of a port fail with an errno; nil makes them work again.
    func fail(_ port: UInt16, with code: Int32?) { state.withLock { $0.faults[port] = code } }

    func bind(_ wanted: WantedForward.Key, on port: PortNumber) throws(BindFailure) -> any BoundForward {
        var forward = wanted
        forward.hostPort = port
        let (id, code) = state.withLock { state -> (UInt64, Int32?) in
            state.tries += 1
            // As in the kernel, a port that is open here already is in use.
            let taken = state.open.values.contains {
                $0.hostPort == forward.hostPort && $0.bind == forward.bind
            }
            if let code = state.faults[forward.hostPort.rawValue] ?? (taken ? EADDRINUSE : nil) {
                return (0, code)
            }
            state.nextID += 1
            state.open[state.nextID] = forward
            return (state.nextID, nil)
        }
        if let code {
            throw BindFailure(
                address: HostAddress(address: forward.bind.addresses[0], port: forward.hostPort),
                error: SystemError(code: code, operation: "bind"))
        }
        return Bound(binder: self, id: id)
    }

    func note(wanted forwards: [WantedForward]) {
        state.withLock { $0.noted = forwards.map(\.key.hostPort.rawValue) }
    }

    func resetConnections(acceptedBefore time: UInt64) { state.withLock { $0.resets.append(time) } }

    func findLostConnections() { state.withLock { $0.searches += 1 } }

    func holders(of addresses: [HostAddress]) async -> [HostAddress: PortHolder] {
        Dictionary(uniqueKeysWithValues: Set(addresses).map { ($0, PortHolder(name: "node", pid: 4121)) })
    }

    private struct Bound: BoundForward {
        let binder: RecordingBinder
        let id: UInt64

        func close() {
            binder.state.withLock { state in
                if state.open.removeValue(forKey: id) == nil { state.closedTwice += 1 }
            }
        }

        func retryHeld() { binder.state.withLock { $0.retriesOfHeld += 1 } }

        var counters: ForwardCounters { ForwardCounters() }
    }
}

/// A clock that stands still until told.
final class ManualClock: Sendable {
    private let time = Mutex<UInt64>(1_000_000_000)

    var now: UInt64 { time.withLock { $0 } }
    func advance(_ duration: Duration) { time.withLock { $0 += duration.wholeNanoseconds } }

    var clock: ForwardClock {
        ForwardClock(monotonic: { self.now }, wallMicroseconds: { self.now / 1000 })
    }
}

/// Collects events.
final class EventLog: Sendable {
    private let events = Mutex<[ForwardEvent]>([])

    func append(_ event: ForwardEvent) { events.withLock { $0.append(event) } }

    var all: [ForwardEvent] { events.withLock { $0 } }

    /// The events since the last call.
    func takeAll() -> [ForwardEvent] {
        events.withLock { events in
            defer { events = [] }
            return events
        }
    }

    /// The same, as `name:host port`.
    func take() -> [String] {
        events.withLock { events in
            defer { events = [] }
            return events.map { event in
                event.name.rawValue + (event.forward.map { ":\($0.hostPort)" } ?? "")
            }
        }
    }
}
