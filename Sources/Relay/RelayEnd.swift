internal import CLinux
internal import Glibc
internal import Linux

/// The kinds of stream socket that bytes move between.
enum Transport: Int, CaseIterable {
    case tcp, unix, vsock

    init(_ address: SocketAddress) {
        self =
            switch address {
            case .tcp: .tcp
            case .unix: .unix
            case .vsock: .vsock
            }
    }
}

/// How one call on a socket or pipe went.
enum Transfer {
    case moved(Int)
    case wouldBlock
    case failed(Int32)

    /// Makes the system call, again while a signal interrupts it.
    @inline(__always)
    init(_ call: () -> Int) {
        while true {
            let result = call()
            let code = errno
            if result >= 0 {
                self = .moved(result)
            } else if code == EINTR {
                continue
            } else {
                self = code == EAGAIN ? .wouldBlock : .failed(code)
            }
            return
        }
    }
}

/// One socket of a relayed connection, with what the event loop knows about it.
struct RelayEnd: ~Copyable {
    /// Leads to the other relay, not to the client or the server.
    let isTunnel: Bool
    private(set) var transport = Transport.tcp
    private(set) var fd: Int32 = -1
    private var descriptor: OwnedDescriptor?

    /// Reading may give something; false only after EAGAIN or a short read, since epoll reports each edge once.
    var readable = false
    /// Writing may take something; false only after EAGAIN, and while a connect is on its way.
    var writable = false
    /// The events that the loop has asked for; 0 before it has.
    private(set) var watched: UInt32 = 0
    /// Its events carry the token of a connection that has ended.
    private var isMisdirected = false
    /// The peer has shut down its side: an end of file follows the data.
    private(set) var hungUp = false
    /// A hang-up has been reported, and whether it is more than a half-close has not been looked at.
    private var mayBeLost = false
    /// TCP urgent data has come. recv(2) stops short of its mark, and splice(2) does not get past it (tcp(7)).
    private(set) var hasUrgentData = false
    /// This side has told the peer that nothing more will come.
    private(set) var hasEnded = false
    /// The peer is gone: nothing written will arrive.
    var failed = false

    init(isTunnel: Bool) { self.isTunnel = isTunnel }

    var isOpen: Bool { fd >= 0 }

    /// - Parameter accepted: the peer may have spoken already, so that reading is worth a try at once.
    mutating func open(_ new: consuming OwnedDescriptor, _ transport: Transport, accepted: Bool = false) {
        fd = new.rawValue
        self.transport = transport
        descriptor = consume new
        readable = accepted
        mayBeLost = false
        writable = true
        watched = 0
        hungUp = false
        hasUrgentData = false
        hasEnded = false
        failed = false
    }

    /// Closes in order: what was written still arrives.
    mutating func close() {
        if !isTunnel, transport == .tcp, isOpen { _ = clinux_reset_on_close(fd, 0) }
        descriptor = nil
        fd = -1
    }

    /// Closes so that a TCP peer gets a RST. Unix and vsock have none: their peers see a close.
    mutating func reset() {
        if isTunnel, transport == .tcp, isOpen { _ = clinux_reset_on_close(fd, 1) }
        descriptor = nil
        fd = -1
    }

    /// Takes the socket of another end over, with what is known about it.
    mutating func take(over other: inout RelayEnd) {
        swap(&self, &other)
        isMisdirected = watched != 0
    }

    /// Gives the socket away, as it is.
    mutating func detach() -> OwnedDescriptor? {
        fd = -1
        return descriptor.take()
    }

    mutating func note(_ events: UInt32) {
        if events & (EPOLLIN.rawValue | EPOLLRDHUP.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0 {
            readable = true
        }
        if events & (EPOLLOUT.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0 { writable = true }
        if events & (EPOLLRDHUP.rawValue | EPOLLHUP.rawValue) != 0 { (hungUp, mayBeLost) = (true, true) }
        if events & EPOLLPRI.rawValue != 0 { (hasUrgentData, readable) = (true, true) }
        if events & EPOLLERR.rawValue != 0 { failed = true }
    }

    /// The events to ask for; nil when those asked for suffice.
    ///
    /// Room to write is asked for once a write has blocked, and from then on: a unix socket reports it whenever
    /// its peer has read something, so that each small message would wake the loop a second time.
    var missingEvents: UInt32? {
        guard isOpen else { return nil }
        var events = watched | EPOLLIN.rawValue | EPOLLRDHUP.rawValue | EPOLLET.rawValue
        if !writable { events |= EPOLLOUT.rawValue }
        if transport == .tcp { events |= EPOLLPRI.rawValue }
        return events == watched && !isMisdirected ? nil : events
    }

    mutating func noteWatched(_ events: UInt32) { (watched, isMisdirected) = (events, false) }

    /// Notes that the loop hears nothing of it any more until it is watched again.
    mutating func noteIgnored() { watched = 0 }

    /// Whether a connect has come through, has failed, or is still on its way (`wouldBlock`).
    mutating func connectProgress() -> Transfer {
        // A unix socket is connected when connect(2) returns.
        guard transport != .unix else { return .moved(0) }
        var result = probe()
        if case .failed(ENOTCONN) = result {
            // A vsock socket says so while it connects and after it has failed.
            if let error = StreamSocket.pendingError(fd) { return .failed(error.code) }
            result = .wouldBlock
        }
        if case .wouldBlock = result { writable = false } else { writable = true }
        return result
    }

    /// Finds out, of a raw tunnel, whether the peer has closed its socket rather than shut down the side it writes to, if
    /// there is a reason to ask. Only before this side has ended does that show that the connection was reset.
    mutating func noteLoss(atEnd: Bool = false) {
        // An end of file can be read before its event comes.
        guard mayBeLost || atEnd && !hungUp, isTunnel, !hasEnded, !failed else { return }
        mayBeLost = false
        if case .failed = probe() { failed = true }
    }

    /// Has the other end's kernel say so if it has forgotten the connection, where it would only say it when asked.
    func findLoss() { if transport == .vsock { VsockBuffers.tellPeer(fd) } }

    /// Sends no bytes: it fails as a real send would.
    private func probe() -> Transfer {
        let fd = fd
        return Transfer { send(fd, nil, 0, Int32(MSG_NOSIGNAL)) }
    }

    /// Reads; a short read clears `readable`, because new bytes raise a new edge (epoll(7)).
    mutating func receive(_ bytes: UnsafeMutableRawBufferPointer, flags: Int32 = 0) -> Transfer {
        let fd = fd
        let result = Transfer { recv(fd, bytes.baseAddress, bytes.count, flags) }
        switch result {
        case .moved(let count)
        where count > 0 && count < bytes.count && !hungUp && !hasUrgentData && flags == 0:
            readable = false
        case .wouldBlock:
            readable = false
        default:
            break
        }
        return result
    }

    mutating func transmit(_ bytes: UnsafeRawBufferPointer) -> Transfer {
        let fd = fd
        let result = Transfer { send(fd, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL)) }
        if case .wouldBlock = result { writable = false }
        return result
    }

    /// Writes `bytes` and takes what was written off them; nil once nothing is left.
    mutating func say(_ bytes: inout ArraySlice<UInt8>) -> Transfer? {
        while !bytes.isEmpty {
            guard writable else { return .wouldBlock }
            let result = bytes.withUnsafeBytes { transmit($0) }
            guard case .moved(let count) = result else { return result }
            bytes = bytes.dropFirst(count)
        }
        return nil
    }

    /// Says the last bytes and reads until the peer has closed: closing earlier, with its bytes unread, would reset the
    /// connection and could take them with it. nil when the peer can't be told.
    mutating func finish(
        _ bytes: inout ArraySlice<UInt8>, _ scratch: UnsafeMutableRawBufferPointer
    ) -> RelayConnection.Verdict? {
        if !bytes.isEmpty {
            switch say(&bytes) {
            case nil: shutdownWriting()
            case .failed: return nil
            default: return .waiting
            }
        }
        while readable {
            switch receive(scratch) {
            case .moved(let count) where count > 0: continue
            case .wouldBlock: return .waiting
            default: return .done
            }
        }
        return .waiting
    }

    /// Bytes that can be read at once; 0 when that is unknown (ioctl FIONREAD).
    var readableBytes: Int { max(0, Int(clinux_readable_bytes(fd))) }

    /// Passes an end of file on.
    mutating func shutdownWriting() {
        _ = shutdown(fd, Int32(SHUT_WR))
        hasEnded = true
    }

    /// The peer has closed its socket, where it never shuts down one side alone (`TunnelForm.records`).
    var peerIsGone: Bool { hungUp || failed }
}
