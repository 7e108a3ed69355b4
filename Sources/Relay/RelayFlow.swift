internal import CLinux
internal import Glibc
internal import Linux

/// One direction of a relayed connection: takes bytes from one end and gives them to the other.
///
/// Between turns it holds a pipe or a buffer only while the sink has not taken everything.
struct RelayFlow {
    enum State {
        case open
        /// The source has ended; what is held still has to go out.
        case draining
        /// The end of file has been passed on.
        case ended
    }

    /// Why a turn stopped.
    enum Turn {
        /// Nothing to do before the next event.
        case waiting
        /// The turn's bytes are used up; there may be more.
        case yielded
        case ended
        case sourceFailed
        case sinkFailed
    }

    /// A read of this size makes the next ones bulk: worth a pipe.
    private static let bulkRead = 32 << 10
    /// So many turns in a row below `smallTurn` bytes make it small talk again: one copy is cheaper than two
    /// splices there. A full sink makes single turns of a bulk transfer as small.
    private static let smallTurns = 8
    private static let smallTurn = 4 << 10

    /// What holds the bytes on their way.
    private enum Carrier {
        case none
        case pipe(RelayPipe)
        case buffer(RelayBuffer)

        var count: Int {
            switch self {
            case .none: 0
            case .pipe(let pipe): pipe.count
            case .buffer(let buffer): buffer.count
            }
        }
    }

    private(set) var state = State.open
    private var carrier = Carrier.none
    private(set) var isBulk = false
    private var smallTurns = 0

    /// Starts with bytes that came together with the handshake.
    mutating func take(over leftover: RelayBuffer) { carrier = .buffer(leftover) }

    /// Gives the pipe or buffer back; the bytes in it are lost.
    mutating func discard(_ resources: RelayResources) {
        switch carrier {
        case .none: break
        case .pipe(let pipe): resources.pipes.give(pipe)
        case .buffer(let buffer): resources.buffers.give(buffer)
        }
        carrier = .none
    }

    /// Moves bytes until either end blocks, ends or fails, or the turn's share is used up; `moved` grows by
    /// what the sink took. When this is the last flow to end, closing the sink passes its end on as well.
    mutating func run(
        from source: inout RelayEnd, to sink: inout RelayEnd, using resources: RelayResources,
        isLast: Bool, moved: inout UInt64
    ) -> Turn {
        guard isBulk else {
            var method = SpliceTrial.Method.copy
            return move(&source, &sink, &method, resources, isLast, &moved)
        }
        let trial = resources.trial(from: source.transport, to: sink.transport)
        let measured = trial.decision == nil
        var method = trial.method
        let before = moved
        let start = measured ? SystemClock.threadCPU : 0
        let turn = move(&source, &sink, &method, resources, isLast, &moved)
        let bytes = Int(moved - before)
        if measured {
            let cost = SystemClock.threadCPU - start
            resources.withTrial(from: source.transport, to: sink.transport) {
                $0.record(method, bytes: bytes, cpuNanoseconds: cost)
            }
        }
        if bytes > 0 {
            smallTurns = bytes < Self.smallTurn ? smallTurns + 1 : 0
            if smallTurns == Self.smallTurns { (isBulk, smallTurns) = (false, 0) }
        }
        return turn
    }

    private mutating func move(
        _ source: inout RelayEnd, _ sink: inout RelayEnd, _ method: inout SpliceTrial.Method,
        _ resources: RelayResources, _ isLast: Bool, _ moved: inout UInt64
    ) -> Turn {
        var share = resources.turnBytes
        while true {
            if carrier.count > 0 {
                guard sink.writable else { return .waiting }
                switch writeOut(to: &sink) {
                case .moved(let count):
                    moved += UInt64(count)
                    share -= count
                case .wouldBlock: return .waiting
                case .failed: return .sinkFailed
                }
                continue
            }
            switch state {
            case .ended: return .ended
            case .draining:
                discard(resources)
                if !isLast { sink.shutdownWriting() }
                state = .ended
                return .ended
            case .open: break
            }
            guard source.readable, sink.writable, share > 0 else {
                discard(resources)
                return source.readable && sink.writable ? .yielded : .waiting
            }
            if let failure = readIn(from: &source, to: &sink, &method, resources, &share, &moved) {
                discard(resources)
                return failure
            }
        }
    }

    private mutating func writeOut(to sink: inout RelayEnd) -> Transfer {
        switch carrier {
        case .none: return .moved(0)
        case .buffer(let buffer):
            let result = sink.transmit(buffer.bytes)
            if case .moved(let count) = result { buffer.consume(count) }
            return result
        case .pipe(let pipe):
            let fd = sink.fd
            let result = Transfer { clinux_splice(pipe.reader.rawValue, fd, pipe.count) }
            switch result {
            // Nothing taken although bytes are there: as good as blocked, and no reason to spin.
            case .moved(0), .wouldBlock:
                sink.writable = false
                return .wouldBlock
            case .moved(let count): pipe.count -= count
            case .failed: break
            }
            return result
        }
    }

    /// Fills the empty carrier, or another one if that fits better; returns the reason when the flow can't go on.
    private mutating func readIn(
        from source: inout RelayEnd, to sink: inout RelayEnd, _ method: inout SpliceTrial.Method,
        _ resources: RelayResources, _ share: inout Int, _ moved: inout UInt64
    ) -> Turn? {
        if method == .splice {
            if let pipe = pipe(resources) {
                return spliceIn(pipe, from: &source, to: sink.transport, &method, resources)
            }
            method = .copy
        }
        guard let buffer = buffer(resources) else {
            return passOn(from: &source, to: &sink, resources.scratch, &share, &moved)
        }
        switch source.receive(buffer.memory) {
        case .moved(0): return end(&source)
        case .moved(let count):
            buffer.fill(count)
            if count >= Self.bulkRead { isBulk = true }
        case .wouldBlock: break
        case .failed: return .sourceFailed
        }
        return nil
    }

    /// Makes a pipe the carrier; nil when there is none to be had.
    private mutating func pipe(_ resources: RelayResources) -> RelayPipe? {
        if case .pipe(let pipe) = carrier { return pipe }
        discard(resources)
        guard let pipe = resources.pipes.take() else { return nil }
        carrier = .pipe(pipe)
        return pipe
    }

    private mutating func buffer(_ resources: RelayResources) -> RelayBuffer? {
        if case .buffer(let buffer) = carrier { return buffer }
        discard(resources)
        guard let buffer = resources.buffers.take() else { return nil }
        carrier = .buffer(buffer)
        return buffer
    }

    private mutating func spliceIn(
        _ pipe: RelayPipe, from source: inout RelayEnd, to sink: Transport,
        _ method: inout SpliceTrial.Method, _ resources: RelayResources
    ) -> Turn? {
        let fd = source.fd
        switch Transfer({ clinux_splice(fd, pipe.writer.rawValue, pipe.capacity) }) {
        case .moved(0):
            // Not every zero is the end of file, but a peek of nothing is.
            var byte: UInt8 = 0
            let peeked = withUnsafeMutableBytes(of: &byte) { source.receive($0, flags: Int32(MSG_PEEK)) }
            if case .moved(0) = peeked { return end(&source) }
            if case .failed = peeked { return .sourceFailed }
            if case .moved(1) = peeked { leavePipe(&method, resources) }
        case .moved(let count): pipe.count = count
        // The pipe is empty, so it is the socket that has nothing.
        case .wouldBlock: source.readable = false
        case .failed(EINVAL):
            resources.withTrial(from: source.transport, to: sink) { $0.reject() }
            leavePipe(&method, resources)
        case .failed: return .sourceFailed
        }
        return nil
    }

    /// Takes an end of file, which from a lost peer is a reset and must not look like an orderly end.
    private mutating func end(_ source: inout RelayEnd) -> Turn? {
        source.noteLoss(atEnd: true)
        if source.failed { return .sourceFailed }
        state = .draining
        return nil
    }

    /// Goes on by copying for the rest of the turn.
    private mutating func leavePipe(_ method: inout SpliceTrial.Method, _ resources: RelayResources) {
        discard(resources)
        method = .copy
    }

    /// Moves bytes without holding any: peeks, sends, and takes from the source what the sink has taken.
    private mutating func passOn(
        from source: inout RelayEnd, to sink: inout RelayEnd, _ scratch: RelayBuffer, _ share: inout Int,
        _ moved: inout UInt64
    ) -> Turn? {
        switch source.receive(scratch.memory, flags: Int32(MSG_PEEK)) {
        case .moved(0): return end(&source)
        case .wouldBlock: break
        case .failed: return .sourceFailed
        case .moved(let peeked):
            switch sink.transmit(UnsafeRawBufferPointer(rebasing: scratch.memory[..<peeked])) {
            case .wouldBlock: break
            case .failed: return .sinkFailed
            case .moved(let sent):
                moved += UInt64(sent)
                share -= sent
                return drop(sent, from: &source, scratch)
            }
        }
        return nil
    }

    /// Takes bytes that have been peeked at out of the source.
    private func drop(_ count: Int, from source: inout RelayEnd, _ scratch: RelayBuffer) -> Turn? {
        var left = count
        while left > 0 {
            let part = UnsafeMutableRawBufferPointer(rebasing: scratch.memory[..<left])
            switch source.receive(part) {
            case .moved(let taken) where taken > 0: left -= taken
            default: return .sourceFailed
            }
        }
        return nil
    }
}
