import Linux
import Ports
import RumConfig

@testable import Machine
@testable import Router
@testable import rum

/// Readers of text that comes from a repository, the guest, or another process of the user.
extension Readers {
    /// devcontainer.json, which comes with a repository: what is made of it is a rum.toml that can be read.
    static func devcontainer(_ bytes: UnsafeRawBufferPointer) {
        guard let container = try? DevContainer(text: String(decoding: bytes, as: UTF8.self)) else { return }
        var answers = InitAnswers(path: "/srv/app/rum.toml")
        answers.take(container)
        do {
            let config = try MachineConfig.parse(answers.document, file: "/srv/app/rum.toml")
            expect(config.autoPorts?.rules.count == container.rules.count, "rules are lost")
        } catch {
            fatalError("what rum init writes is refused: \(error.problems)\n\(answers.document)")
        }
    }

    /// A hosts file, with our block put in, again, and taken out: what is not ours stays as it is.
    static func hosts(_ bytes: UnsafeRawBufferPointer) {
        let lines = ["127.65.1.2\tdev.localhost"]
        do {
            let without = try HostsFile(Array(bytes)).with([], of: 1000)
            let with = try HostsFile(Array(bytes)).with(lines, of: 1000)
            expect(try HostsFile(with).with(lines, of: 1000) == with, "a second time changes it")
            let removed = try HostsFile(with).with([], of: 1000)
            expect(removed == without || removed == without + [UInt8(ascii: "\n")], "other lines are changed")
        } catch {}
        _ = HostsFile.isOurs(String(decoding: bytes, as: UTF8.self))
    }

    /// A guest's console: the same news in one piece and in others, and few.
    static func console(_ bytes: UnsafeRawBufferPointer) {
        guard let first = bytes.first else { return }
        let text = bytes.dropFirst()
        var whole = ConsoleReader()
        let news = whole.read(text) + whole.pause()
        var pieces = ConsoleReader()
        var found: [ConsoleNews] = []
        var rest = text
        while !rest.isEmpty {
            found += pieces.read(rest.prefix(Int(first) + 1))
            rest = rest.dropFirst(Int(first) + 1)
        }
        expect(found + pieces.pause() == news, "pieces change the news")
        expect(news.count <= 64, "news without end")
    }

    /// A rule's pattern, a line end, and what it is compared with; a text that takes long ends the run by its time limit.
    static func pattern(_ bytes: UnsafeRawBufferPointer) {
        let parts = bytes.split(separator: UInt8(ascii: "\n"), maxSplits: 1)
        guard let first = parts.first,
            let pattern = try? TextPattern(text: String(decoding: first, as: UTF8.self))
        else { return }
        expect((try? TextPattern(text: pattern.text)) == pattern, "a pattern that is not read again")
        _ = pattern.matches(parts.count > 1 ? String(decoding: parts[1], as: UTF8.self) : "")
    }

    /// The answer of a program in the guest to an HTTP request, in one piece and in others.
    static func http(_ bytes: UnsafeRawBufferPointer) {
        guard let first = bytes.first else { return }
        let answer = Array(bytes.dropFirst())
        func status(pieces: Int) -> HTTPStatusReader.Result {
            var reader = HTTPStatusReader()
            for start in stride(from: 0, to: answer.count, by: pieces) {
                let result = reader.add(answer[start..<min(answer.count, start + pieces)])
                if result != .incomplete { return result }
            }
            return .incomplete
        }
        if case .status(let number) = status(pieces: max(1, answer.count)) {
            expect((100...999).contains(number), "no status")
            // An answer that is far too long is given up sooner in pieces.
            let inPieces = status(pieces: Int(first) + 1)
            expect(inPieces == .status(number) || inPieces == .notHTTP, "pieces change the status")
        }
    }

    /// What a process says on the router's socket.
    static func greeting(_ bytes: UnsafeRawBufferPointer) {
        guard let machine = RouterGreeting.machine(in: bytes) else { return }
        expect(!machine.isEmpty && !machine.contains(" "), "a machine that is no word")
    }
}
