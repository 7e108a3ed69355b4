import AgentAPI
import Glibc
import Linux
import LiveKernel
import Ports
import SwiftProtobuf

/// What gRPC costs on the way: the same message over the same kind of socket, between two threads that do nothing else.
enum DeliveryBench {
    static func run() async throws {
        Measure.header(
            "A table without gRPC: encoded, sent over a unix socket, decoded by another process (microseconds)",
            ["pause before each", "samples", "median", "p90", "p99", "most"])
        let path = "/tmp/bench-watch.\(getpid()).delivery"
        let listener = try ServiceSocket.listen(on: .unix(path: path))
        let receiver = try await Child(
            [CommandLine.arguments[0], "receive", path], in: try await NetworkNamespace())
        defer {
            receiver.end()
            unlink(path)
        }
        var poller = pollfd(fd: listener.rawValue, events: Int16(POLLIN), revents: 0)
        _ = poll(&poller, 1, 5000)
        let socket = OwnedDescriptor(
            owning: try SystemError.check("accept", accept(listener.rawValue, nil, nil)))
        for (pause, count) in [(20, 400), (500, 50)] {
            var times: [Int64] = []
            for index in 0..<count {
                usleep(useconds_t(pause * 1000))
                times.append(try sample(socket, index))
            }
            Measure.row(
                ["\(pause) ms", "\(count)"]
                    + [0.5, 0.9, 0.99, 1].map { Measure.microseconds(Measure.quantile(times, $0)) })
        }
    }

    private static func sample(_ socket: borrowing OwnedDescriptor, _ index: Int) throws -> Int64 {
        let process = ListeningProcess(pid: 812, name: "python3")
        let listeners = (0..<5).compactMap { PortNumber(UInt16(5000 + index + $0)) }.map {
            ListeningSocket(address: .loopbackV4, port: $0, process: process, listenedAt: 1)
        }
        let start = Measure.now
        let source = ListenSource(mode: .netlink, push: .tracepoint)
        let table = ListenTable(revision: UInt64(index), source: source, listeners: listeners)
        let bytes: [UInt8] = try table.message.serializedBytes()
        _ = bytes.withUnsafeBytes { write(socket.rawValue, $0.baseAddress, $0.count) }
        var time: Int64 = 0
        guard read(socket.rawValue, &time, 8) == 8 else { throw SystemError.current("read") }
        return time - start
    }

    /// The receiver's process: answers each message with the time at which it had the table.
    static func receive(_ path: String) throws {
        let socket = try StreamSocket.connect(to: .unix(path: path))
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            var poller = pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)
            _ = poll(&poller, 1, -1)
            let count = read(socket.rawValue, &buffer, buffer.count)
            guard count > 0 else { return }
            let table = ListenTable(
                try Rum_V1_ListeningPortsResponse(serializedBytes: Array(buffer[..<count])))
            var time = table.listeners.isEmpty ? 0 : Measure.now
            _ = write(socket.rawValue, &time, 8)
        }
    }
}
