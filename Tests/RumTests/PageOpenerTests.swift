import Foundation
import Glibc
import Linux
import PortForward
import Ports
import Synchronization
import TestSupport
import Testing

@testable import rum

@Suite("Pages of forwards", .timeLimit(.minutes(1)))
struct PageOpenerTests {
    let folder: TestFolder
    let said = Said()

    init() throws { folder = try TestFolder() }

    final class Said: Sendable {
        private let lines = Mutex<[String]>([])
        var all: [String] { lines.withLock { $0 } }
        func add(_ line: String) { lines.withLock { $0.append(line) } }
    }

    /// Writes down what it is called with, a line each time.
    var log: String { folder.path + "/log" }
    func program(_ name: String, _ end: String = "exit 0") throws -> String {
        let path = try folder.file(name, "#!/bin/sh\necho \"$*\" >> \(log)\n\(end)\n")
        try #require(chmod(path, 0o700) == 0)
        return path
    }

    func opener(_ variables: [String: String]) -> PageOpener {
        PageOpener(environment: variables.merging(["PATH": folder.path]) { $1 }) { [said] in said.add($0) }
    }

    static func event(
        _ name: ForwardEvent.Name = .opened, guest: UInt16 = 5001, _ times: PortRule.PageOpening? = .once
    ) -> ForwardEvent {
        var rule = PortRule()
        rule.opensPage = times
        return ForwardEvent(
            name: name,
            forward: .init(kind: .auto, bind: .loopback, hostPort: port(guest + 1), guestPort: port(guest)),
            rule: rule, timeMicroseconds: 0)
    }

    var opened: [String] {
        ((try? readText(log)) ?? "").split(separator: "\n").map(String.init)
    }

    @Test("A page is opened once for each port, or always where the rule says so")
    func once() async throws {
        _ = try program("xdg-open")
        let opener = opener([:])
        opener.take(Self.event(.closed))
        opener.take(Self.event(guest: 5005, nil))
        for _ in 0..<3 { opener.take(Self.event()) }
        try await eventually { opened == ["http://127.0.0.1:5002/"] }
        opener.take(Self.event(guest: 5003, .always))
        try await eventually { opened.count == 2 }
        opener.take(Self.event(guest: 5003, .always))
        try await eventually { opened.count == 3 }
        #expect(opened.last == "http://127.0.0.1:5004/")
        #expect(said.all == [])
    }

    @Test("The user's own program is called with words, and no shell reads them")
    func ownProgram() async throws {
        let path = try program("mine")
        opener(["RUM_OPENER": "\(path) --new  {host} {port} $(id);"]).take(Self.event())
        try await eventually { opened == ["--new 127.0.0.1 5002 $(id);"] }
        opener(["RUM_OPENER": path]).take(Self.event())
        try await eventually { opened.last == "http://127.0.0.1:5002/" }
    }

    @Test("One that is not there or fails is told")
    func failures() async throws {
        opener([:]).take(Self.event())
        try await eventually {
            said.all == ["http://127.0.0.1:5002/ is not opened: xdg-open is not installed"]
        }
        _ = try program("xdg-open", "exit 3")
        opener([:]).take(Self.event())
        try await eventually { said.all.last == "http://127.0.0.1:5002/ is not opened: xdg-open has failed" }
        opener(["RUM_OPENER": "/nowhere/x"]).take(Self.event())
        try await eventually { said.all.count == 3 }
        #expect(said.all[2].hasPrefix("http://127.0.0.1:5002/ is not opened: /nowhere/x cannot be run: "))
    }

    @Test(
        "A guest that opens ports without end does not fill the browser, and a program that stays holds up nothing"
    )
    func many() async throws {
        _ = try program("xdg-open", "exec /bin/sleep 30")
        let opener = opener([:])
        for guest in UInt16(5001)...5100 { opener.take(Self.event(guest: guest)) }
        try await eventually { opened.count == 5 }
        #expect(said.all.count == 95)
        #expect(said.all.first == "http://127.0.0.1:5007/ is not opened: too many pages at once")
    }

    @Test(
        "The address is one that a browser can go to",
        arguments: [
            ("127.0.0.1", "http://127.0.0.1:5001/"), ("localhost", "http://localhost:5001/"),
            ("0.0.0.0", "http://127.0.0.1:5001/"), ("::", "http://[::1]:5001/"),
            ("::1", "http://[::1]:5001/"),
            ("127.168.41.7", "http://127.168.41.7:5001/"),
        ])
    func addresses(bind: String, url: String) throws {
        let key = WantedForward.Key(
            kind: .auto, bind: try #require(BindAddress(text: bind)), hostPort: port(5001),
            guestPort: port(80))
        #expect(PageAddress(key, scheme: .http).url == url)
        #expect(PageAddress(key, scheme: .https).url == url.replacingOccurrences(of: "http:", with: "https:"))
    }
}
