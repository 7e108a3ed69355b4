internal import AgentChannel
internal import Glibc
internal import Linux
internal import Ports

/// The agent's way to a relayed connection: read the preamble, dial the guest's own listener, answer.
extension RelayConnection {
    /// One step; nil when the next can follow at once.
    func guestStep(_ loop: RelayLoop, _ policy: GuestRelayPolicy) -> Verdict? {
        switch stage {
        case .readingPreamble: return readPreamble(policy)
        case .connecting where !local.isOpen: return dialNext(loop)
        case .connecting: return connected(loop)
        default: return finishRefusal(loop)
        }
    }

    private func readPreamble(_ policy: GuestRelayPolicy) -> Verdict? {
        guard tunnel.readable else { return .waiting }
        let result = withUnsafeTemporaryAllocation(byteCount: ForwardPreamble.size, alignment: 1) { bytes in
            let wanted = UnsafeMutableRawBufferPointer(
                rebasing: bytes[..<(ForwardPreamble.size - inbox.count)])
            let result = tunnel.receive(wanted)
            if case .moved(let count) = result { inbox.append(contentsOf: wanted[..<count]) }
            return result
        }
        switch result {
        case .wouldBlock: return .waiting
        case .failed, .moved(0): return fail()
        case .moved: break
        }
        guard inbox.count == ForwardPreamble.size else { return nil }
        let preamble = ForwardPreamble(bytes: inbox)
        inbox = []
        // Port 0 makes no preamble; whether its token was right is then not worth telling.
        guard let preamble else { return refuse(.notAllowed) }
        guard preamble.token.matches(policy.token) else { return refuse(.badToken) }
        candidates = policy.dialTargets(preamble.port)[...]
        guard !candidates.isEmpty else { return refuse(.notAllowed) }
        stage = .connecting
        return nil
    }

    private func dialNext(_ loop: RelayLoop) -> Verdict? {
        guard let address = candidates.first else { return refuse(.refused) }
        do throws(SystemError) {
            local.open(try StreamSocket.connect(to: address), Transport(address))
        } catch {
            if loop.retryLater(self, after: error) { return .waiting }
            candidates = candidates.dropFirst()
            return nil
        }
        return nil
    }

    private func connected(_ loop: RelayLoop) -> Verdict? {
        switch local.connectProgress() {
        case .wouldBlock:
            // The host has given up: nobody waits for this connect any more.
            tunnel.noteLoss()
            return tunnel.failed ? fail() : .waiting
        case .failed:
            local.close()
            candidates = candidates.dropFirst()
            return nil
        case .moved:
            candidates = []
            outbox = [ForwardStatus.connected.rawValue]
            loop.disarm(self)
            stage = .relaying
            return nil
        }
    }

    private func refuse(_ status: ForwardStatus) -> Verdict? {
        listener.tally.addFailure()
        outbox = [status.rawValue]
        stage = .refusing
        return nil
    }

    /// Sends the status and reads until the host has closed: closing earlier, with client bytes unread, would
    /// reset the tunnel and could take the status with it.
    private func finishRefusal(_ loop: RelayLoop) -> Verdict? {
        if !outbox.isEmpty {
            switch flush() {
            case nil: tunnel.shutdownWriting()
            case .failed: return abort()
            default: return .waiting
            }
        }
        while tunnel.readable {
            switch tunnel.receive(loop.resources.scratch.memory) {
            case .moved(let count) where count > 0: continue
            case .wouldBlock: return .waiting
            default: return .done
            }
        }
        return .waiting
    }
}
