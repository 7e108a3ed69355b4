/// Finds out by measuring whether splice(2) costs less than copying between two kinds of socket.
///
/// It depends on the kernel: before Linux 6.5 a vsock socket can't be spliced from, and spliced into it sends
/// one packet a page. So bulk turns alternate between both ways until each has a few, and then the one with
/// the lower median of CPU time per byte stays.
struct SpliceTrial {
    enum Method { case splice, copy }

    /// Turns of each method that are measured, and the bytes a turn must have moved to count.
    static let turns = 9
    static let leastBytes = 64 << 10

    private(set) var decision: Method?
    private var spliceCosts: [UInt64] = []
    private var copyCosts: [UInt64] = []

    init(_ use: RelayOptions.SpliceUse) {
        decision =
            switch use {
            case .whereItPays: nil
            case .always: .splice
            case .never: .copy
            }
    }

    /// What the next bulk turn should use.
    var method: Method { decision ?? (spliceCosts.count <= copyCosts.count ? .splice : .copy) }

    /// Takes one turn's cost into account.
    mutating func record(_ method: Method, bytes: Int, cpuNanoseconds: UInt64) {
        guard decision == nil, bytes >= Self.leastBytes else { return }
        let picosecondsPerByte = cpuNanoseconds * 1000 / UInt64(bytes)
        switch method {
        case .splice where spliceCosts.count < Self.turns: spliceCosts.append(picosecondsPerByte)
        case .copy where copyCosts.count < Self.turns: copyCosts.append(picosecondsPerByte)
        default: return
        }
        guard spliceCosts.count >= Self.turns, copyCosts.count >= Self.turns else { return }
        decision = Self.median(spliceCosts) <= Self.median(copyCosts) ? .splice : .copy
        spliceCosts = []
        copyCosts = []
    }

    /// The kernel can't splice here at all.
    mutating func reject() { decision = .copy }

    private static func median(_ values: [UInt64]) -> UInt64 { values.sorted()[values.count / 2] }
}
