import Foundation
import Glibc
import Linux
import LiveKernel
import Ports
import TestSupport
import Testing

/// `rum forward` on the host's side and `rum-agent` in a namespace that plays the guest, with real sockets.
@Suite("rum forward and rum-agent across two network namespaces", .serialized, .timeLimit(.minutes(2)))
struct ForwardTests {
    @Test(
        "A listener opens the host port and its end closes it, in less than 5 ms at the median", .tags(.timed)
    )
    func openAndClose() async throws {
        let guest = try await Guest()
        let agent = try await guest.startAgent()
        let rum = try guest.startForward(["--auto", "5300-5399", "--json"])
        try await eventually("a connection to the agent") { agent.descriptors > 0 && rum.descriptors > 10 }
        var opens: [Duration] = []
        for round in 0..<30 {
            let port = UInt16(5300 + round)
            let listener = try await guest.listen(port: port)
            opens.append(try await Client.timeUntilReachable(port))
            withExtendedLifetime(listener) {}
        }
        try await eventually("every host port closed") { (5300..<5330).allSatisfy { !Client.reaches($0) } }
        opens.sort()
        // Without optimisation gRPC alone takes longer than that.
        let bound = Program.isRelease ? Duration.milliseconds(5) : .milliseconds(25)
        #expect(opens[opens.count / 2] < bound, "all: \(opens)")
        try await rum.waits(for: #""event":"closed""#, times: 30)
        #expect(rum.lines.count { $0.contains(#""event":"opened""#) } == 30)
    }

    @Test("A file in the guest tells which host port each port has, as long as the host is there")
    func sharedForwards() async throws {
        let guest = try await Guest()
        let folder = try TestFolder()
        let file = folder.path + "/made/ports.json"
        let agent = try await guest.startAgent(["--ports-file", file])
        let rum = try guest.startForward(["--auto", "5440-5449", "--port", "15441:5441"])
        func says(_ rows: String) -> Bool { (try? readText(file)) == "{\"forwards\":[\(rows)]}\n" }
        let fixed = #"{"guest_port":5441,"host":"127.0.0.1","host_port":15441}"#
        try await eventually("the static forward") { says(fixed) }
        do {
            let listener = try await guest.listen(port: 5442)
            try await eventually("the automatic one too") {
                says(fixed + #",{"guest_port":5442,"host":"127.0.0.1","host_port":5442}"#)
            }
            withExtendedLifetime(listener) {}
        }
        try await eventually("the static one alone") { says(fixed) }
        rum.send(SIGKILL)
        try await eventually("no file") { !FileManager.default.fileExists(atPath: file) }
        let next = try guest.startForward(["--auto", "5440-5449"])
        try await eventually("a host without forwards") { says("") }
        agent.send(SIGTERM)
        try await eventually("no file") { !FileManager.default.fileExists(atPath: file) }
        withExtendedLifetime(next) {}
    }

    @Test(
        "A client that ends its side still gets the reply", arguments: [IPAddress.anyV4, .loopbackV6, .anyV6])
    func halfClose(address: IPAddress) async throws {
        let guest = try await Guest()
        let agent = try await guest.startAgent()
        let rum = try guest.startForward(["--auto", "5400-5400"])
        let listener = try await guest.listen(address, port: 5400)
        try await rum.waits(for: "Auto-forwarding 127.0.0.1:5400 → guest:5400")
        let echo = try BackgroundThread {
            var storage = sockaddr_storage()
            var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let number = withUnsafeMutablePointer(to: &storage) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    accept(listener.descriptor.rawValue, $0, &size)
                }
            }
            let peer = OwnedDescriptor(owning: number)
            var buffer = [UInt8](repeating: 0, count: 1024)
            var all: [UInt8] = []
            while case let count = recv(peer.rawValue, &buffer, buffer.count, 0), count > 0 {
                all += buffer[..<count]
            }
            let reply = Array("you said: ".utf8) + all
            _ = Glibc.send(peer.rawValue, reply, reply.count, Int32(MSG_NOSIGNAL))
        }
        let client = try Client(port: 5400)
        try client.send("hello")
        client.finishWriting()
        #expect(try client.readToEnd() == "you said: hello")
        await echo.end()
        _ = (agent, rum)
    }

    @Test("A static port is open before the guest listens, and resets clients until it does")
    func staticPort() async throws {
        let guest = try await Guest()
        let agent = try await guest.startAgent()
        let rum = try guest.startForward(["--port", "5450:80"])
        try await rum.waits(for: "Forwarding 127.0.0.1:5450 → guest:80")
        let client = try Client(port: 5450)
        let error = #expect(throws: SystemError.self) { try client.readToEnd() }
        #expect(error?.code == ECONNRESET)
        _ = agent
    }

    @Test(
        "A port that somebody holds is told with its holder, and opens within 100 ms of its release",
        .tags(.timed))
    func blocked() async throws {
        let guest = try await Guest()
        let agent = try await guest.startAgent()
        var holder: TestListener? = try TestListener(.loopbackV4, port: 5460)
        let rum = try guest.startForward(["--auto", "5460-5461"])
        let listener = try await guest.listen(port: 5460)
        try await rum.waits(for: "Blocked: 127.0.0.1:5460 is held by ")
        #expect(rum.lines.contains { $0.contains("(pid \(getpid())); will forward when it is free") })
        let other = try await guest.listen(port: 5461)
        try await rum.waits(for: "Auto-forwarding 127.0.0.1:5461")
        withExtendedLifetime(holder) {}
        holder = nil
        let released = ContinuousClock.now
        try await eventually("host port 5460 open") { Client.reaches(5460) }
        #expect(released.duration(to: .now) < .milliseconds(100))
        _ = (agent, listener, other)
    }

    @Test(
        "An agent that goes away and comes back is told, and the port stays: old connections end, new ones work",
        arguments: [SIGKILL, SIGTERM])
    func agentRestart(signal: Int32) async throws {
        let guest = try await Guest()
        let first = try await guest.startAgent()
        let rum = try guest.startForward(["--auto", "5470-5470"])
        let listener = try await guest.listen(port: 5470)
        try await rum.waits(for: "Auto-forwarding 127.0.0.1:5470")
        let old = try Client(port: 5470)
        try await eventually("a connection through the first agent") { listener.isReadable(within: 0) }
        first.send(signal)
        try await rum.waits(for: "Lost the guest's agent")
        let second = try await guest.startAgent()
        try await rum.waits(for: "The guest's agent is back: the agent was started again")
        #expect(throws: SystemError.self) { try old.readToEnd() }
        listener.acceptAndClose()
        let new = try Client(port: 5470)
        try await eventually("a connection through the second agent") { listener.isReadable(within: 0) }
        #expect(rum.lines.count { $0.hasPrefix("Auto-forwarding") } == 1)
        #expect(!rum.lines.contains { $0.hasPrefix("Stopped") })
        _ = (new.socket.rawValue, second)
    }

    @Test("An agent that stands still is noticed within seconds, and followed again when it goes on")
    func stoppedAgent() async throws {
        let guest = try await Guest()
        let agent = try await guest.startAgent()
        let rum = try guest.startForward(["--auto", "5465-5466"])
        let listener = try await guest.listen(port: 5465)
        try await rum.waits(for: "Auto-forwarding 127.0.0.1:5465")
        agent.send(SIGSTOP)
        // A heartbeat every 5 s, whose answer has 2 s.
        try await rum.waits(for: "Lost the guest's agent")
        agent.send(SIGCONT)
        try await rum.waits(for: "The guest's agent is back")
        let other = try await guest.listen(port: 5466)
        try await rum.waits(for: "Auto-forwarding 127.0.0.1:5466")
        withExtendedLifetime((listener, other)) {}
    }

    @Test(
        "A static port that somebody holds is told, and opens on release, though no agent has ever answered")
    func blockedWithoutAgent() async throws {
        let guest = try await Guest()
        var holder: TestListener? = try TestListener(.loopbackV4, port: 5467)
        let rum = try guest.startForward(["--port", "5467:80"])
        try await rum.waits(for: "Blocked: 127.0.0.1:5467 is held by ")
        withExtendedLifetime(holder) {}
        holder = nil
        try await rum.waits(for: "Forwarding 127.0.0.1:5467 → guest:80")
    }

    @Test("Polling finds what the stream finds")
    func polling() async throws {
        let guest = try await Guest()
        let agent = try await guest.startAgent(["--mode=procfs"])
        let rum = try guest.startForward(["--auto", "5480-5480", "--poll"])
        do {
            let listener = try await guest.listen(port: 5480)
            try await rum.waits(for: "Auto-forwarding 127.0.0.1:5480")
            withExtendedLifetime(listener) {}
        }
        try await rum.waits(for: "Stopped forwarding port 5480")
        _ = agent
    }

    @Test("--max bounds the automatic forwards, and says how many are left out")
    func bounded() async throws {
        let guest = try await Guest()
        // First, so that they are in the first table.
        let listeners = try await guest.listen(ports: 5481..<5486)
        let agent = try await guest.startAgent()
        let rum = try guest.startForward(["--auto", "5481-5489", "--max", "3"])
        try await rum.waits(for: "Auto-forwarding", times: 3)
        try await rum.waits(for: "3 are forwarded at most (auto_ports.max, --max): 2 are left out")
        #expect(!Client.reaches(5484) && Client.reaches(5483))
        _ = (agent, listeners)
    }

    @Test("Ctrl-C closes the ports and is exit code 130; the agent removes its sockets when it ends")
    func interrupt() async throws {
        let guest = try await Guest()
        let agent = try await guest.startAgent()
        let rum = try guest.startForward(["--port", "5490:80"])
        try await rum.waits(for: "Forwarding 127.0.0.1:5490")
        rum.send(SIGINT)
        try await eventually("rum ended") { rum.status == 130 }
        #expect(rum.lines.contains("Stopped forwarding port 5490"))
        #expect(!Client.reaches(5490))
        agent.send(SIGTERM)
        try await eventually("agent ended") { agent.status == 0 }
        #expect(try FileManager.default.contentsOfDirectory(atPath: guest.directory).isEmpty)
    }

    @Test("A thousand short connections leave no descriptor behind, on either side")
    func noLeak() async throws {
        let guest = try await Guest()
        let agent = try await guest.startAgent()
        let rum = try guest.startForward(["--auto", "5495-5495"])
        let listener = try await guest.listen(port: 5495)
        try await rum.waits(for: "Auto-forwarding 127.0.0.1:5495")
        let server = try BackgroundThread {
            for _ in 0...1000 {
                let accepted = accept(listener.descriptor.rawValue, nil, nil)
                if accepted >= 0 { _ = OwnedDescriptor(owning: accepted) }
            }
        }
        _ = try Client(port: 5495).readToEnd()
        try await Self.settled(rum, agent)
        let before = (rum.descriptors, agent.descriptors)
        for _ in 0..<1000 { _ = try Client(port: 5495).readToEnd() }
        await server.end()
        try await eventually("descriptors \(before), now \((rum.descriptors, agent.descriptors))") {
            rum.descriptors <= before.0 && agent.descriptors <= before.1
        }
    }

    @Test("Two agents cannot serve one address; the second says so and leaves the first alone")
    func secondAgent() async throws {
        let guest = try await Guest()
        let first = try await guest.startAgent()
        let second = try await guest.namespace.run {
            [directory = guest.directory] in try Program("rum-agent", ["--listen", "unix:\(directory)"])
        }
        try await eventually("the second ended") { second.status == 1 }
        #expect(second.lines.contains { $0.hasPrefix("hint: another rum-agent serves it") })
        #expect(first.status == nil)
        let sockets = try FileManager.default.contentsOfDirectory(atPath: guest.directory)
        #expect(sockets.sorted() == ["2222.sock", "2223.sock"])
    }

    /// Waits until both programs' descriptors stay as they are.
    private static func settled(_ programs: Program...) async throws {
        var last: [Int] = []
        var since = ContinuousClock.now
        try await eventually("descriptors at rest") {
            let now = programs.map(\.descriptors)
            if now != last { (last, since) = (now, .now) }
            return since.duration(to: .now) > .milliseconds(200)
        }
    }
}
