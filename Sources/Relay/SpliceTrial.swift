/// Finds out by measuring whether splice(2) costs less than copying between two kinds of socket.
///
/// It depends on the kernel: before Linux 6.5 a vsock socket can't be spliced from, and spliced into it sends
/// one packet a page. So bulk transfers alternate between both ways in phases until each has moved enough,
/// and the one that took less CPU time stays. Sums over many turns decide, for single turns differ tenfold: the
/// kernel does the network's work in whichever call happens to be running.
struct SpliceTrial {
    enum Method { case splice, copy }

    /// Bytes after which the other method has its turn.
    static let phase = 2 << 20
    /// Bytes that each method has to move.
    static let enough = 32 << 20
    /// Copying is chosen only if it is cheaper by more than the noise: per cent of splice's cost.
    static let clearlyCheaper: UInt64 = 90

    private struct Cost {
        var bytes = 0
        var cpuNanoseconds: UInt64 = 0
        var picosecondsPerByte: UInt64 { cpuNanoseconds * 1000 / UInt64(max(1, bytes)) }
    }

    private(set) var decision: Method?
    private var spliced = Cost()
    private var copied = Cost()

    init(_ use: RelayOptions.SpliceUse) {
        decision =
            switch use {
            case .whereItPays: nil
            case .always: .splice
            case .never: .copy
            }
    }

    /// What the next bulk turn should use.
    var method: Method {
        if let decision { return decision }
        return spliced.bytes / Self.phase <= copied.bytes / Self.phase ? .splice : .copy
    }

    /// Takes one turn's cost into account.
    mutating func record(_ method: Method, bytes: Int, cpuNanoseconds: UInt64) {
        guard decision == nil else { return }
        switch method {
        case .splice:
            spliced.bytes += bytes
            spliced.cpuNanoseconds += cpuNanoseconds
        case .copy:
            copied.bytes += bytes
            copied.cpuNanoseconds += cpuNanoseconds
        }
        guard spliced.bytes >= Self.enough, copied.bytes >= Self.enough else { return }
        let bound = spliced.picosecondsPerByte * Self.clearlyCheaper / 100
        decision = copied.picosecondsPerByte < bound ? .copy : .splice
    }

    /// The kernel can't splice here at all.
    mutating func reject() { decision = .copy }
}
