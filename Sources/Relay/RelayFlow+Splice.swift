internal import CLinux
internal import Glibc
internal import Linux

/// How a flow moves bytes through a pipe.
extension RelayFlow {
    /// Makes a pipe the carrier; nil when the loop has none left.
    mutating func pipe(_ resources: RelayResources) -> RelayPipe? {
        if case .pipe(let pipe) = carrier { return pipe }
        discard(resources)
        guard let pipe = resources.pipes.take() else {
            resources.isShort = true
            return nil
        }
        carrier = .pipe(pipe)
        return pipe
    }

    /// Puts the header of a record of what the source has now into the empty pipe, unless one is open or none is needed.
    /// False when the source has nothing, or the pipe takes nothing: then copying finds out why.
    mutating func announce(from source: borrowing RelayEnd, in pipe: RelayPipe) -> Bool {
        guard writer?.left == 0 else { return true }
        let count = min(source.readableBytes, RelayRecord.longest)
        guard count > 0 else { return false }
        let written = withUnsafeBytes(of: UInt32(count).bigEndian) {
            write(pipe.writer.rawValue, $0.baseAddress, $0.count)
        }
        pipe.count = max(0, written)
        guard written == RelayRecord.headerSize else { return false }
        headerInCarrier = UInt8(written)
        writer?.begin(count)
        return true
    }

    mutating func spliceIn(
        _ pipe: RelayPipe, from source: inout RelayEnd, to sink: Transport, _ pass: inout Pass
    ) -> Turn? {
        let fd = source.fd
        let limit = min(pipe.capacity, writer?.left ?? reader?.left ?? .max)
        switch Transfer({ clinux_splice(fd, pipe.writer.rawValue, limit) }) {
        case .moved(0):
            // Not every zero is the end of file, but a peek of nothing is.
            var byte: UInt8 = 0
            let peeked = withUnsafeMutableBytes(of: &byte) { source.receive($0, flags: Int32(MSG_PEEK)) }
            if case .moved(0) = peeked { return end(&source) }
            if case .failed = peeked { return .sourceFailed }
            if case .moved(1) = peeked { leavePipe(&pass) }
        case .moved(let count):
            pipe.count += count
            if writer != nil { writer?.consume(count) } else { reader?.consume(count) }
        // The pipe has room, so it is the socket that has nothing.
        case .wouldBlock: source.readable = false
        case .failed(EINVAL):
            pass.resources.withTrial(from: source.transport, to: sink) { $0.reject() }
            leavePipe(&pass)
        case .failed: return .sourceFailed
        }
        return nil
    }

    /// Goes on by copying for the rest of the turn. A header in the pipe is sent by itself.
    private mutating func leavePipe(_ pass: inout Pass) {
        if headerInCarrier > 0, let writer {
            self.writer?.owe(headerOf: writer.left, last: Int(headerInCarrier))
            headerInCarrier = 0
        }
        discard(pass.resources)
        pass.method = .copy
    }
}
