internal import Glibc

/// What a flow does where pipes and buffers are scarce.
extension RelayFlow {
    /// Moves what is held into memory of just that size, where the sink takes nothing now: a pipe or a buffer of the loop's
    /// few is of more use to others than to a reader who has paused.
    mutating func spill(_ resources: RelayResources) {
        let count = carrier.count
        switch carrier {
        case .none: return
        case .buffer(let buffer):
            guard buffer.isPooled, count > 0, let own = resources.buffers.spill(count) else { return }
            own.memory.copyMemory(from: buffer.bytes)
            own.fill(count)
            discard(resources)
            carrier = .buffer(own)
        case .pipe(let pipe):
            guard count > 0, let own = resources.buffers.spill(count) else { return }
            // The pipe is this process's own, and holds so many bytes: they come at once.
            var got = 0
            while got < count {
                let part = UnsafeMutableRawBufferPointer(rebasing: own.memory[got..<count])
                guard case .moved(let read) = pipe.read(into: part), read > 0 else { break }
                got += read
            }
            own.fill(got)
            own.isBare = true
            discard(resources)
            carrier = .buffer(own)
        }
    }

    /// Moves bytes without holding any: peeks, sends, and takes from the source what the sink has taken.
    mutating func passOn(
        from source: inout RelayEnd, to sink: inout RelayEnd, _ pass: inout Pass
    ) -> Turn? {
        let memory = pass.resources.scratch.memory
        let owed = writer?.left ?? reader?.left ?? .max
        let headroom = writer != nil && owed == 0 ? RelayRecord.headerSize : 0
        let room = UnsafeMutableRawBufferPointer(
            rebasing: memory[headroom...].prefix(owed == 0 ? .max : owed))
        switch source.receive(room, flags: Int32(MSG_PEEK)) {
        case .moved(0): return end(&source)
        case .wouldBlock: return nil
        case .failed: return .sourceFailed
        case .moved(let peeked):
            kept = nil
            if headroom > 0 {
                RelayRecord.writeHeader(peeked, to: memory)
                writer?.begin(peeked)
            }
            switch sink.transmit(UnsafeRawBufferPointer(rebasing: memory[..<(headroom + peeked)])) {
            case .wouldBlock:
                if headroom > 0 { writer?.begin(0) }
                return nil
            case .failed: return .sinkFailed
            case .moved(let sent):
                if sent < headroom { writer?.owe(headerOf: peeked, last: headroom - sent) }
                let taken = max(0, sent - headroom)
                pass.note(taken)
                if writer != nil { writer?.consume(taken) } else { reader?.consume(taken) }
                return drop(taken, from: &source, pass.resources.scratch)
            }
        }
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
