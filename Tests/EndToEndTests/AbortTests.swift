import Glibc
import Linux
import LiveKernel
import TestSupport
import Testing

/// A transfer that a killed program cuts off must not look like a whole one, to either side.
@Suite("Transfers that are cut off", .serialized, .timeLimit(.minutes(2)))
struct AbortTests {
    enum Victim: String, CaseIterable, CustomTestStringConvertible {
        case rum, agent
        var testDescription: String { rawValue }
    }

    /// What each side of a download saw at its end, when `victim` was ended in the middle of it, the question being over.
    private static func download(
        _ victim: Victim, _ signal: Int32, port: UInt16
    ) async throws -> (client: Int32, server: Int32) {
        let guest = try await Guest()
        let agent = try await guest.startAgent()
        let rum = try guest.startForward(["--auto", "\(port)-\(port)"])
        let listener = try await guest.listen(port: port)
        try await rum.waits(for: "Auto-forwarding 127.0.0.1:\(port)")
        let served = AsyncStream<Int32>.makeStream()
        let server = try BackgroundThread {
            let peer = OwnedDescriptor(owning: accept(listener.descriptor.rawValue, nil, nil))
            var buffer = [UInt8](repeating: 0, count: 64 << 10)
            // The question, and its end.
            while recv(peer.rawValue, &buffer, buffer.count, 0) > 0 {}
            while Glibc.send(peer.rawValue, buffer, buffer.count, Int32(MSG_NOSIGNAL)) > 0 {}
            served.continuation.yield(errno)
        }
        let client = try Client(port: port)
        try client.send("everything, please")
        client.finishWriting()
        var byte: UInt8 = 0
        #expect(recv(client.socket.rawValue, &byte, 1, 0) == 1)
        switch victim {
        case .rum: rum.send(signal)
        case .agent: agent.send(signal)
        }
        let error = #expect(throws: SystemError.self) { try client.readToEnd() }
        var seen: Int32 = 0
        for await code in served.stream {
            seen = code
            break
        }
        await server.end()
        return (error?.code ?? 0, seen)
    }

    @Test(
        "Whichever program ends, however it ends, the client and the server are reset",
        arguments: Victim.allCases,
        [SIGKILL, SIGTERM, SIGINT])
    func cutOff(_ victim: Victim, _ signal: Int32) async throws {
        let seen = try await Self.download(victim, signal, port: 5410)
        #expect(seen.client == ECONNRESET)
        // The first write after the reset says ECONNRESET, any further one EPIPE.
        #expect(seen.server == ECONNRESET || seen.server == EPIPE)
    }
}
