internal import CLinux
internal import Glibc
internal import Linux

/// One direction of a relayed connection: takes bytes from one end and gives them to the other.
///
/// ```
/// open -> draining   the source has ended in order; what is held still goes out
///      -> ending     into a tunnel of records: the last record goes out
///      -> ended      the sink knows that nothing more will come
/// ```
/// Between turns it holds a pipe or a buffer only while the sink has not taken everything.
struct RelayFlow {
    enum State {
        case open, draining, ending, ended
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
    /// Bytes of an outbox that is sent together with the first ones of the stream.
    private static let longestJoined = 128
    /// Bytes that are kept of a source that may have to be repeated.
    private static let mostKept = 16 << 10

    /// What holds the bytes on their way.
    enum Carrier {
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
    var carrier = Carrier.none
    private(set) var isBulk = false
    /// Its end said that the tunnel is free again.
    private(set) var saidFree = false
    private var smallTurns = 0
    /// Where the source speaks in records.
    var reader: RecordReader?
    /// Where the sink is spoken to in records.
    var writer: RecordWriter?
    /// Bytes of an outbox and a header at the start of the carrier, which count as nothing moved.
    var headerInCarrier: UInt8 = 0
    /// All that was taken from the source, while it may have to be said again; nil where it need not, or was too much.
    var kept: [UInt8]?

    /// Nothing has been taken from the source.
    var isUntouched: Bool { state == .open && carrier.count == 0 && (writer?.left ?? 0) == 0 }

    /// Has the source speak in records from now on.
    mutating func readRecords() { reader = RecordReader() }

    /// Speaks to the sink in records from now on.
    mutating func writeRecords() { writer = RecordWriter() }

    /// Starts with bytes that came together with the handshake.
    mutating func take(over leftover: RelayBuffer) { carrier = .buffer(leftover) }

    /// Starts with bytes that were taken from the source before; how the sink is spoken to is settled by now. False where
    /// there is no memory for them.
    mutating func lead(with bytes: [UInt8], _ resources: RelayResources) -> Bool {
        let header = writer == nil ? 0 : RelayRecord.headerSize
        guard let buffer = resources.buffers.spill(header + bytes.count) else { return false }
        if header > 0 { RelayRecord.writeHeader(bytes.count, to: buffer.memory) }
        UnsafeMutableRawBufferPointer(rebasing: buffer.memory[header...]).copyBytes(from: bytes)
        buffer.fill(header + bytes.count)
        headerInCarrier = UInt8(header)
        carrier = .buffer(buffer)
        keep(bytes)
        return true
    }

    private mutating func keep(_ bytes: some Collection<UInt8>) {
        guard let count = kept?.count else { return }
        if count + bytes.count <= Self.mostKept { kept?.append(contentsOf: bytes) } else { kept = nil }
    }

    /// Gives the pipe or buffer back; the bytes in it are lost.
    mutating func discard(_ resources: RelayResources) {
        switch carrier {
        case .none: break
        case .pipe(let pipe): resources.pipes.give(pipe)
        case .buffer(let buffer): resources.buffers.give(buffer)
        }
        carrier = .none
    }

    /// Moves bytes until either end blocks, ends or fails, or the turn's share is used up; `moved` grows by what the
    /// sink took. The outbox goes out before them.
    mutating func run(
        from source: inout RelayEnd, to sink: inout RelayEnd, _ pass: inout Pass,
        after outbox: inout ArraySlice<UInt8>, moved: inout UInt64
    ) -> Turn {
        swap(&pass.outbox, &outbox)
        defer { swap(&pass.outbox, &outbox) }
        return run(from: &source, to: &sink, &pass, moved: &moved)
    }

    /// As above, without an outbox.
    mutating func run(
        from source: inout RelayEnd, to sink: inout RelayEnd, _ pass: inout Pass, moved: inout UInt64
    ) -> Turn {
        guard isBulk else {
            let turn = move(&source, &sink, &pass)
            moved += UInt64(pass.moved)
            return turn
        }
        let resources = pass.resources
        let trial = resources.trial(from: source.transport, to: sink.transport)
        let measured = trial.decision == nil
        pass.method = trial.method
        let start = measured ? SystemClock.threadCPU : 0
        let turn = move(&source, &sink, &pass)
        moved += UInt64(pass.moved)
        if measured {
            let cost = SystemClock.threadCPU - start
            resources.withTrial(from: source.transport, to: sink.transport) {
                $0.record(pass.method, bytes: pass.moved, cpuNanoseconds: cost)
            }
        }
        if pass.moved > 0 {
            smallTurns = pass.moved < Self.smallTurn ? smallTurns + 1 : 0
            if smallTurns == Self.smallTurns { (isBulk, smallTurns) = (false, 0) }
        }
        return turn
    }

    /// One turn: what it may use, and what it has done so far.
    struct Pass {
        let resources: RelayResources
        /// This is the last flow to end: closing a raw sink passes its end on as well.
        let isLast: Bool
        /// The outbox may stay while there is nothing to send with it.
        let isPatient: Bool
        /// The tunnel is free again once this flow has ended.
        let freesTunnel: Bool
        /// Bytes for the sink that come before those of the flow.
        var outbox: ArraySlice<UInt8> = []
        var share: Int
        var method = SpliceTrial.Method.copy
        var moved = 0

        init(resources: RelayResources, isLast: Bool, isPatient: Bool = false, freesTunnel: Bool = false) {
            self.resources = resources
            self.isLast = isLast
            self.isPatient = isPatient
            self.freesTunnel = freesTunnel
            share = resources.turnBytes
        }

        /// Notes bytes of the stream that the sink took.
        mutating func note(_ count: Int) {
            moved += count
            share -= count
        }
    }

    private mutating func move(_ source: inout RelayEnd, _ sink: inout RelayEnd, _ pass: inout Pass) -> Turn {
        while true {
            if !pass.outbox.isEmpty, !canJoin(source, sink, pass) {
                if pass.isPatient, state == .open, !source.readable {
                    discard(pass.resources)
                    return .waiting
                }
                switch sink.say(&pass.outbox) {
                case nil: break
                case .failed: return .sinkFailed
                default: return .waiting
                }
            }
            if writer?.headerLeft ?? 0 > 0 {
                if let stop = payHeader(to: &sink) { return stop }
                continue
            }
            if carrier.count > 0 {
                guard takeHeaders() else { return .sourceFailed }
                guard carrier.count > 0 else { continue }
                guard sink.writable else { return .waiting }
                switch writeOut(to: &sink, &pass) {
                case .moved: continue
                case .wouldBlock: return .waiting
                case .failed: return .sinkFailed
                }
            }
            switch state {
            case .ended: return .ended
            case .ending:
                state = .ended
                return .ended
            case .draining:
                discard(pass.resources)
                if writer != nil {
                    saidFree = pass.freesTunnel
                    writer?.oweEnd(isFree: saidFree)
                    state = .ending
                    continue
                }
                if !pass.isLast { sink.shutdownWriting() }
                state = .ended
                return .ended
            case .open: break
            }
            guard source.readable, sink.writable, pass.share > 0 else {
                discard(pass.resources)
                return source.readable && sink.writable ? .yielded : .waiting
            }
            if let failure = readIn(from: &source, to: &sink, &pass) {
                discard(pass.resources)
                return failure
            }
        }
    }

    /// Whether the source is read next, into a buffer whose beginning has room for the outbox.
    private func canJoin(
        _ source: borrowing RelayEnd, _ sink: borrowing RelayEnd, _ pass: borrowing Pass
    ) -> Bool {
        state == .open && carrier.count == 0 && pass.method == .copy && source.readable && sink.writable
            && pass.resources.buffers.hasRoom && pass.outbox.count < Self.longestJoined
    }

    // MARK: Out

    private mutating func payHeader(to sink: inout RelayEnd) -> Turn? {
        guard sink.writable else { return .waiting }
        switch writer?.payHeader({ sink.transmit($0) }) {
        case .moved, nil: return nil
        case .wouldBlock: return .waiting
        case .failed: return .sinkFailed
        }
    }

    /// Takes the headers at the start of the buffer; false when they are none.
    private mutating func takeHeaders() -> Bool {
        guard case .buffer(let buffer) = carrier, reader != nil, !buffer.isBare else { return true }
        while buffer.count > 0, reader?.left == 0 {
            do throws(RecordReader.Problem) {
                buffer.consume(try reader?.takeHeader(buffer.bytes) ?? 0)
            } catch {
                return false
            }
        }
        if reader?.hasEnded == true { state = .draining }
        return true
    }

    private mutating func writeOut(to sink: inout RelayEnd, _ pass: inout Pass) -> Transfer {
        let result: Transfer
        switch carrier {
        case .none: return .moved(0)
        case .buffer(let buffer):
            var bytes = buffer.bytes
            let isFramed = reader != nil && !buffer.isBare
            if isFramed { bytes = UnsafeRawBufferPointer(rebasing: bytes.prefix(reader?.left ?? 0)) }
            result = sink.transmit(bytes)
            if case .moved(let count) = result {
                buffer.consume(count)
                if isFramed { reader?.consume(count) }
            }
        case .pipe(let pipe):
            let fd = sink.fd
            result = Transfer { clinux_splice(pipe.reader.rawValue, fd, pipe.count) }
            switch result {
            // Nothing taken although bytes are there: as good as blocked, and no reason to spin.
            case .moved(0), .wouldBlock:
                sink.writable = false
                return .wouldBlock
            case .moved(let count): pipe.count -= count
            case .failed: break
            }
        }
        if case .moved(let count) = result {
            let header = min(count, Int(headerInCarrier))
            headerInCarrier -= UInt8(header)
            pass.note(count - header)
        }
        return result
    }

    // MARK: In

    /// Fills the empty carrier, or another one if that fits better; returns the reason when the flow can't go on.
    private mutating func readIn(
        from source: inout RelayEnd, to sink: inout RelayEnd, _ pass: inout Pass
    ) -> Turn? {
        if pass.method == .splice, !source.hasUrgentData {
            if reader?.headerLeft ?? 0 > 0 { return readHeader(from: &source) }
            if let pipe = pipe(pass.resources) {
                if announce(from: source, in: pipe) {
                    return spliceIn(pipe, from: &source, to: sink.transport, &pass)
                }
                discard(pass.resources)
            }
        }
        pass.method = .copy
        guard let buffer = buffer(pass.resources) else {
            if reader?.headerLeft ?? 0 > 0 { return readHeader(from: &source) }
            return passOn(from: &source, to: &sink, &pass)
        }
        // A record that has been announced is finished first; a new one is announced in front of its bytes.
        let owed = writer?.left ?? 0
        let header = writer != nil && owed == 0 ? RelayRecord.headerSize : 0
        let headroom = pass.outbox.count + header
        let room = UnsafeMutableRawBufferPointer(
            rebasing: buffer.memory[headroom...].prefix(owed > 0 ? owed : .max))
        switch source.receive(room) {
        case .moved(0): return end(&source)
        case .moved(let count):
            if headroom > 0 {
                buffer.memory.copyBytes(from: pass.outbox)
                if header > 0 {
                    let place = buffer.memory[pass.outbox.count...]
                    RelayRecord.writeHeader(count, to: UnsafeMutableRawBufferPointer(rebasing: place))
                }
                headerInCarrier = UInt8(headroom)
                pass.outbox = []
            }
            keep(room.prefix(count))
            if owed > 0 { writer?.consume(count) }
            buffer.fill(headroom + count)
            if count >= Self.bulkRead { isBulk = true }
        case .wouldBlock: break
        case .failed: return .sourceFailed
        }
        return nil
    }

    /// Reads the header of the next record, or a part of it, straight from the tunnel.
    private mutating func readHeader(from source: inout RelayEnd) -> Turn? {
        withUnsafeTemporaryAllocation(byteCount: RelayRecord.headerSize, alignment: 4) { bytes in
            let room = UnsafeMutableRawBufferPointer(rebasing: bytes.prefix(reader?.headerLeft ?? 0))
            switch source.receive(room) {
            case .moved(0), .failed: return .sourceFailed
            case .wouldBlock: return nil
            case .moved(let count):
                do throws(RecordReader.Problem) {
                    _ = try reader?.takeHeader(UnsafeRawBufferPointer(rebasing: room.prefix(count)))
                } catch {
                    return .sourceFailed
                }
                if reader?.hasEnded == true { state = .draining }
                return nil
            }
        }
    }

    private mutating func buffer(_ resources: RelayResources) -> RelayBuffer? {
        // One that was made for what a paused reader left is too small to go on with.
        if case .buffer(let buffer) = carrier, buffer.isPooled { return buffer }
        discard(resources)
        guard let buffer = resources.buffers.take() else {
            resources.isShort = true
            return nil
        }
        carrier = .buffer(buffer)
        return buffer
    }

    /// Takes an end of file, which from a lost peer is a reset and must not look like an orderly end.
    mutating func end(_ source: inout RelayEnd) -> Turn? {
        // A tunnel of records says so when a direction ends; and what was announced must come.
        guard reader == nil, writer?.left ?? 0 == 0 else { return .sourceFailed }
        source.noteLoss(atEnd: true)
        if source.failed { return .sourceFailed }
        state = .draining
        return nil
    }
}
