/// What a role does with clients of which only their first bytes tell where they want to go. The bytes are looked at where
/// they are (MSG_PEEK), so whoever gets the socket then gets it as if it had been accepted there.
///
/// A client has `RelayOptions.silenceTimeout` to say enough, few may be undecided at once (`maxSilent`), and each is looked
/// at so many times, so that nobody is worth much work.
package struct RelayEntrance: Sendable {
    /// Of a client's bytes no more are looked at.
    package static let mostBytes = 16 << 10
    /// A client says where it wants to go in a packet or two.
    static let mostLooks = 64

    /// Called on an event loop, again whenever more has come: it must not wait.
    package var decide: @Sendable (RelayArrival) -> RelayDecision

    package init(decide: @escaping @Sendable (RelayArrival) -> RelayDecision) {
        self.decide = decide
    }
}

/// A client about which nothing is decided.
package struct RelayArrival {
    /// All that it has said so far, from its first byte on; valid during the call.
    package let bytes: UnsafeRawBufferPointer
    /// No more will come, or be looked at.
    package let isAll: Bool
    /// This side has said something to it.
    package let isGreeted: Bool
    /// Its socket, which stays the relay's.
    package let socket: Int32
}

/// What becomes of a client.
package enum RelayDecision: Sendable {
    /// More bytes are needed to tell.
    case wait
    /// Say something to it, once, without which it says no more.
    case greet([UInt8])
    /// Relay it to this target, if that admits it; in place of its first `count` bytes, the target gets `bytes`.
    case relay(RelayTarget, replacing: Int = 0, with: [UInt8] = [])
    /// Answer with these bytes, and end in order.
    case answer([UInt8])
    /// Another process has its socket now.
    case handedOver
    case reset
}
