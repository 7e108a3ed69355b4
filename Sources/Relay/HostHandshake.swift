internal import AgentChannel
internal import Glibc
internal import Linux
internal import Ports

/// The host's way to a relayed connection: dial, greet, show the preamble, await the status.
extension RelayConnection {
    /// One step; nil when the next can follow at once.
    func hostStep(_ loop: RelayLoop, _ agent: AgentAddress, _ preamble: ForwardPreamble) -> Verdict? {
        switch stage {
        case .dialling where !tunnel.isOpen: return dial(loop, agent)
        case .dialling: return connected(agent)
        case .greeting: return readGreeting()
        default: return readStatus(loop)
        }
    }

    private func dial(_ loop: RelayLoop, _ agent: AgentAddress) -> Verdict? {
        let address = agent.socketAddress(for: .forward)
        do throws(SystemError) {
            tunnel.open(try StreamSocket.connect(to: address), Transport(address))
        } catch {
            return loop.retryLater(self, after: error) ? .waiting : fail()
        }
        return nil
    }

    private func connected(_ agent: AgentAddress) -> Verdict? {
        switch tunnel.connectProgress() {
        case .wouldBlock: return .waiting
        case .failed: return fail()
        case .moved: break
        }
        if let greeting = agent.greeting(for: .forward) {
            outbox = greeting[...]
            stage = .greeting
        } else {
            outbox = listener.preambleBytes[...]
            stage = .awaitingStatus
        }
        return nil
    }

    /// Reads the answer to CONNECT byte by byte: what follows the line is not ours to take.
    private func readGreeting() -> Verdict? {
        if let blocked = flush() { return waitUnlessFailed(blocked) }
        while true {
            guard tunnel.readable else { return .waiting }
            var byte: UInt8 = 0
            switch withUnsafeMutableBytes(of: &byte, { tunnel.receive($0) }) {
            case .moved(1): inbox.append(byte)
            case .wouldBlock: return .waiting
            case .moved, .failed: return fail()
            }
            switch HybridGreeting.parse(inbox) {
            case .incomplete: continue
            case .refused: return fail()
            case .accepted:
                inbox = []
                outbox = listener.preambleBytes[...]
                stage = .awaitingStatus
                return nil
            }
        }
    }

    /// Sends the preamble and what the client has said so far, and reads the status.
    private func readStatus(_ loop: RelayLoop) -> Verdict? {
        if let blocked = flush() { return waitUnlessFailed(blocked) }
        let ahead = sendAhead(loop)
        if ahead == .sourceFailed { return fail() }
        guard tunnel.readable else {
            // A status may still be on its way when only the sending side fails.
            return ahead == .yielded ? .yielded : .waiting
        }
        // The first bytes of the answer usually come along with the status.
        var single: UInt8 = 0
        let buffer = loop.resources.buffers.take()
        let result =
            if let buffer { tunnel.receive(buffer.memory) } else {
                withUnsafeMutableBytes(of: &single) { tunnel.receive($0) }
            }
        guard case .moved(let count) = result, count > 0 else {
            if let buffer { loop.resources.buffers.give(buffer) }
            if case .wouldBlock = result { return ahead == .yielded ? .yielded : .waiting }
            return fail()
        }
        let status = buffer?.memory.first ?? single
        if let buffer {
            buffer.fill(count)
            buffer.consume(1)
            fromTunnel.take(over: buffer)
        }
        guard ForwardStatus(rawValue: status) == .connected else { return fail() }
        loop.disarm(self)
        stage = .relaying
        return nil
    }

    private func waitUnlessFailed(_ blocked: Transfer) -> Verdict {
        if case .failed = blocked { fail() } else { .waiting }
    }
}
