internal import Linux

/// Tunnels that carry one connection after another; see `SpareTunnels`.
extension RelayConnection {
    /// Ends a connection of which both directions have ended in order. The host's side puts a tunnel aside that may be kept; the
    /// agent's waits on it for another preamble, once it has said that it does.
    func complete(_ loop: RelayLoop) -> Verdict {
        guard keepsTunnel, form == .records, !tunnel.peerIsGone else { return .done }
        switch target.role.tunnel {
        case .dialled:
            if let tunnelAddress {
                loop.keep(&tunnel, to: tunnelAddress, isFree: fromTunnel.reader?.isFree == true)
            }
            return .done
        case .accepted:
            startOver(saying: toTunnel.saidFree ? [] : [RelayRecord.freeMark], loop)
            // The next connection is not far.
            defer { loop.serverSockets.prepare() }
            return advance(loop)
        }
    }
}

extension RelayLoop {
    /// Keeps a tunnel for the next client of the same agent.
    func keep(_ tunnel: inout RelayEnd, to address: SocketAddress, isFree: Bool) {
        // What comes of it now is no business of the connection; that it is free is read when it is needed.
        if !isFree { ignore(&tunnel) }
        spares.give(
            &tunnel, to: address, isFree: isFree, until: time(after: options.spareTime),
            most: options.maxSpares)
    }
}
