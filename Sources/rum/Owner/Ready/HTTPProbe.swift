import CLinux
import Glibc
import Linux

/// One plain HTTP/1.1 request to a TCP port, for the status of its answer.
struct HTTPProbe: Sendable {
    enum Outcome: Equatable, Sendable {
        case status(Int)
        case notHTTP
        /// Closed or reset before it had answered.
        case cutOff
        case late
        case failed(SystemError)
    }

    let target: SocketAddress
    let path: String
    /// What the request calls the server, such as localhost:5173.
    let host: String

    /// Asks on a thread of its own.
    func outcome(within time: Duration) async -> Outcome {
        do throws(SystemError) {
            return try await DedicatedThread.run(name: "http-probe") { () throws(SystemError) in
                try ask(until: .now + time)
            }
        } catch {
            return error.code == ECONNRESET || error.code == EPIPE ? .cutOff : .failed(error)
        }
    }

    private func ask(until deadline: ContinuousClock.Instant) throws(SystemError) -> Outcome {
        let socket = try StreamSocket.connect(to: target)
        guard try wait(POLLOUT, socket.rawValue, until: deadline) else { return .late }
        if let error = StreamSocket.pendingError(socket.rawValue) { throw error }
        let request = Array(
            "GET \(path) HTTP/1.1\r\nHost: \(host)\r\nUser-Agent: rum\r\nAccept: */*\r\nConnection: close\r\n\r\n"
                .utf8)
        // The buffer of a socket that has just been connected has room for it.
        _ = try SystemError.check(
            "send", send(socket.rawValue, request, request.count, Int32(MSG_NOSIGNAL)))
        var reader = HTTPStatusReader()
        var buffer = [UInt8](repeating: 0, count: 4096)
        while try wait(POLLIN, socket.rawValue, until: deadline) {
            let count = recv(socket.rawValue, &buffer, buffer.count, 0)
            if count < 0, errno == EINTR || errno == EAGAIN { continue }
            guard try SystemError.check("recv", count) > 0 else { return .cutOff }
            switch reader.add(buffer[..<count]) {
            case .incomplete: continue
            case .status(let status): return .status(status)
            case .notHTTP: return .notHTTP
            }
        }
        return .late
    }

    /// Whether it happened in time.
    private func wait(
        _ events: Int32, _ fd: Int32, until deadline: ContinuousClock.Instant
    ) throws(SystemError) -> Bool {
        while true {
            let left = deadline - .now
            guard left > .zero else { return false }
            var entry = pollfd(fd: fd, events: Int16(events), revents: 0)
            let count = poll(&entry, 1, Int32(clamping: Int64((left / .milliseconds(1)).rounded(.up))))
            if count > 0 { return true }
            if count < 0, errno != EINTR { throw .current("poll") }
        }
    }
}
