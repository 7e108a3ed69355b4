internal import CLinux
internal import Glibc
internal import Linux

/// Why an owner could not be asked.
package enum ControlError: Error, Hashable, Sendable {
    /// Nobody owns the machine's forwards.
    case notServed
    /// Another version of rum owns them, which speaks another version of the protocol.
    case otherVersion(ControlHello)
    case refused(ControlRefusal)
    /// It answers too late, ended in between, or does not speak the protocol.
    case broken(String)
}

extension ControlError {
    /// What the stream of messages throws.
    package init(_ error: any Error) {
        self = error as? ControlError ?? .broken("\(error)")
    }
}

/// Asks the owner of a machine's forwards.
package struct ControlClient: Sendable {
    private let path: String

    package init(path: String) { self.path = path }

    /// Who owns the forwards; asks nothing.
    package func hello() async throws(ControlError) -> ControlHello {
        let first = try await first(nil, silence: ControlLimits.greetingTime) { message in
            if case .hello(let hello) = message { return hello }
            return ControlHello?.none
        }
        guard let first else { throw .broken("it ended without a greeting") }
        return first
    }

    /// The answer to a request that has one.
    package func answer(
        _ request: ControlRequest, within time: Duration = ControlLimits.answerTime
    ) async throws(ControlError) -> ControlMessage {
        let first = try await first(request, silence: time + ControlLimits.answerSlack) { message in
            switch message {
            case .hello, .unknown: return ControlMessage?.none
            default: return message
            }
        }
        guard let first else { throw .broken("it ended without an answer") }
        return first
    }

    private func first<Found: Sendable>(
        _ request: ControlRequest?, silence: Duration, _ find: (ControlMessage) -> Found?
    ) async throws(ControlError) -> Found? {
        do {
            for try await message in messages(request, silence: silence) {
                if let found = find(message) { return found }
            }
            return nil
        } catch {
            throw ControlError(error)
        }
    }

    /// Everything the owner says from the greeting on, until it ends the connection.
    ///
    /// The stream throws `ControlError`. When it is cancelled or left, the connection ends.
    ///
    /// - Parameters:
    ///   - request: nil to be greeted only.
    ///   - silence: how long the owner may say nothing; nil without limit, after the greeting.
    package func messages(
        _ request: ControlRequest?, silence: Duration? = nil
    ) -> AsyncThrowingStream<ControlMessage, any Error> {
        // The thread holds the continuation alone: the stream ends when its reader leaves it.
        let (messages, continuation) = AsyncThrowingStream<ControlMessage, any Error>.makeStream()
        do throws(SystemError) {
            let socket = SharedSocket(try StreamSocket.connect(to: .unix(path: path)))
            continuation.onTermination = { _ in socket.shutDown() }
            try DedicatedThread.start(name: "control") {
                do throws(ControlError) {
                    try Self.converse(socket, request, silence) { continuation.yield($0) }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
        } catch {
            // A socket whose process has gone refuses; where its path is too long, none can be.
            let isMissing = [ENOENT, ECONNREFUSED, ENAMETOOLONG].contains(error.code)
            continuation.finish(throwing: isMissing ? ControlError.notServed : .broken("\(error.reason)"))
        }
        return messages
    }

    private static func converse(
        _ socket: SharedSocket, _ request: ControlRequest?, _ silence: Duration?,
        _ tell: (ControlMessage) -> Void
    ) throws(ControlError) {
        _ = clinux_set_nonblocking(socket.number, 0)
        var lines = LineBuffer(limit: ControlLimits.message)
        socket.limitReads(to: ControlLimits.greetingTime)
        var isGreeted = false
        while let line = try socket.line(&lines) {
            guard let message = ControlLine.value(ControlMessage.self, from: line) else {
                throw .broken("it does not speak rum's control protocol")
            }
            switch message {
            case .hello(let hello):
                // Whoever asks for nothing, or for the end, is understood by every version.
                if hello.version != ControlLimits.version, request != nil, request != .stop {
                    throw .otherVersion(hello)
                }
                isGreeted = true
                socket.limitReads(to: silence)
                // One that has closed already may have said why.
                if let request { socket.send(ControlLine.bytes(request)) }
            case .error(let refusal): throw .refused(refusal)
            default:
                guard isGreeted else { throw .broken("it does not speak rum's control protocol") }
            }
            tell(message)
        }
    }
}

/// The client's end, which another thread may shut down to wake its reader.
private final class SharedSocket: Sendable {
    private let socket: OwnedDescriptor

    init(_ socket: consuming OwnedDescriptor) { self.socket = socket }

    var number: Int32 { socket.rawValue }

    func shutDown() { shutdown(socket.rawValue, Int32(SHUT_RDWR)) }

    /// nil for no limit.
    func limitReads(to time: Duration?) { try? StreamSocket.limitReads(socket.rawValue, to: time) }

    /// A request fits into the buffer of a socket that has just been connected.
    func send(_ bytes: [UInt8]) {
        _ = Glibc.send(socket.rawValue, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    /// The next line; nil at the end.
    func line(_ lines: inout LineBuffer) throws(ControlError) -> [UInt8]? {
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            if let line = lines.next() { return line }
            guard !lines.isOverfull else { throw .broken("its message is too long") }
            let count = recv(socket.rawValue, &chunk, chunk.count, 0)
            if count > 0 {
                lines.add(chunk[..<count])
            } else if count == 0 || errno == ECONNRESET {
                return nil
            } else if errno == EAGAIN {
                throw .broken("it does not answer in time")
            } else if errno != EINTR {
                throw .broken(SystemError.current("recv").reason)
            }
        }
    }
}
