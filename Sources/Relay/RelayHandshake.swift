package import Linux

/// What two relays say to each other on a new tunnel before bytes flow, as a value: outcomes go in, the next step comes
/// out. It does no I/O and never waits, so it is tested without a socket.
///
/// ```
/// accepted -> dial -> connected | failed
///             send -> sent
///             receive -> received
///             relay | refuse | fail | handOver      the last one
/// ```
package protocol RelayHandshake: Sendable {
    /// Takes the outcome of the step before, `accepted` at first, and says what is to be done now.
    mutating func next(_ event: HandshakeEvent) -> HandshakeStep

    /// Both relays let the tunnel carry another connection once this one has ended in order. Asked for at each `dial` of a
    /// tunnel, and when relaying begins.
    var keepsTunnel: Bool { get }

    /// Takes the tunnel's socket over, which is non-blocking, after `handOver`. Called on an event loop: it must not wait.
    func take(_ tunnel: consuming OwnedDescriptor)
}

extension RelayHandshake {
    /// A tunnel is closed with its connection unless a handshake says otherwise.
    package var keepsTunnel: Bool { false }

    /// Closes it: most handshakes hand nothing over.
    package func take(_ tunnel: consuming OwnedDescriptor) {}
}

/// What has become of a step.
package enum HandshakeEvent: Equatable, Sendable {
    /// A connection has been accepted; the handshake begins.
    case accepted
    /// The dialled address has accepted.
    case connected
    /// In place of a new tunnel there is one to that address which has carried a connection before (`keepsTunnel`).
    case reused
    /// The dialled address can't be reached.
    case failed(SystemError)
    /// The bytes of `send` go out before anything else.
    case sent
    /// At least one byte and at most as many as `receive` asked for.
    case received([UInt8])
}

/// What is to be done next.
package enum HandshakeStep: Equatable, Sendable {
    /// Connect the connection's other end; an attempt that failed before is closed first.
    case dial(SocketAddress)
    /// Send bytes over the tunnel.
    case send([UInt8])
    /// Take at most so many of the tunnel's next bytes. With `meanwhile`, bytes that the client sends go ahead through the
    /// tunnel in that form while the answer is awaited.
    case receive(Int, meanwhile: TunnelForm? = nil)
    /// The handshake is over: relay, the tunnel's bytes in this form, these bytes before all others. Unless `atOnce`, they
    /// may wait a moment to go out together with the first ones of the stream.
    case relay(TunnelForm, saying: [UInt8] = [], atOnce: Bool = false)
    /// Send these last bytes over the tunnel, wait until the peer has closed it, and end.
    case refuse([UInt8])
    /// Nobody serves the connection at present: hold it where its listener does so (`RelayHold`), else reset both ends.
    case away
    /// Reset both ends.
    case fail
    /// The handshake is over, and what follows is not the relay's business: the handshake's `take` gets the tunnel's socket.
    case handOver
}

/// How the bytes of a connection travel through its tunnel, and how the end of a direction is said.
package enum TunnelForm: Equatable, Sendable {
    /// As they are; a shutdown ends a direction. A unix or vsock socket can't tell a reset from an end any more once
    /// this side has ended.
    case raw
    /// In records, the last of which says that the direction has ended in order. A tunnel that closes without it was
    /// reset, on every transport. See `RecordReader`.
    case records

    /// The first bytes of a direction as they travel; they fit into one record.
    package func wrapped(_ bytes: [UInt8]) -> [UInt8] {
        self == .raw || bytes.isEmpty ? bytes : RelayRecord.record(of: bytes)
    }
}
