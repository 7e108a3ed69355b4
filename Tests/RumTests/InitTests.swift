import Foundation
import Glibc
import Linux
import Ports
import RumConfig
import TestSupport
import Testing

@testable import rum

@Suite("What rum init writes")
struct InitTests {
    private func load(_ text: String) throws -> MachineConfig {
        try MachineConfig.parse(text, file: "/srv/app/rum.toml")
    }

    @Test("The defaults load without complaint, and mean what they say")
    func defaults() throws {
        let config = try load(InitAnswers(path: "/srv/app/rum.toml").document)
        #expect(config.name == "app")
        #expect(config.resources == MachineConfig.Resources())
        #expect(config.autoPorts?.range.description == "3000-9999")
        #expect(config.ports.isEmpty)
    }

    @Test("What stands in comments loads too, once the marks are taken away")
    func comments() throws {
        let lines = InitAnswers(path: "/srv/app/rum.toml").document.split(
            separator: "\n", omittingEmptySubsequences: false)
        let text = lines.map { line -> Substring in
            // A sentence starts with a capital letter or a name in quotes; all else is TOML.
            guard line.hasPrefix("# "), let first = line.dropFirst(2).first, !first.isUppercase, first != "`"
            else { return line }
            return line.dropFirst(2)
        }
        let config = try load(text.joined(separator: "\n"))
        #expect(config.ports.map(\.host.description) == ["18080"])
        #expect(config.mounts == [.init(host: "/srv/app", guest: "/work", isReadOnly: true)])
        #expect(config.provision.system?.contains("postgresql") == true)
        #expect(config.ssh.authorizedKeys.count == 1)
        #expect(config.autoPorts?.ignore == [port(5353)])
        #expect(config.image?.sha256 != nil)
    }

    @Test("Answers are written as given, whatever is in them")
    func answers() throws {
        var answers = InitAnswers(path: "/srv/app/rum.toml")
        answers.name = "other"
        answers.image = "images/a \"b\" \\ c.qcow2"
        answers.cpus = "4"
        answers.memory = "3G"
        answers.disk = "40G"
        answers.autoPorts = ""
        let config = try load(answers.document)
        #expect(config.name == "other")
        #expect(config.image?.base == .path("/srv/app/images/a \"b\" \\ c.qcow2"))
        #expect(config.resources.cpus == 4)
        #expect(config.resources.memoryMB == 3072)
        #expect(config.resources.disk == ByteSize(text: "40G"))
        #expect(config.autoPorts == nil)
    }

    @Test(
        "A bad answer is refused in the words of the configuration",
        arguments: [
            ("name", "a b", "\"a b\" is not 1 to 40 letters"),
            ("image.base", "ftp://x/y", "\"ftp://x/y\" is not "), ("image.base", "", "\"\" is not "),
            ("resources.cpus", "two", "a whole number from 1 to 288"),
            ("resources.cpus", "0", "a whole number from 1 to 288, not 0"),
            ("resources.memory_mb", "1K", "a whole number from 64 to"),
            ("resources.disk", "20", "\"20\" is not a size"), ("resources.disk", "x\u{1b}", "is not a size"),
            ("auto_ports.range", "9-1", "\"9-1\" is not min-max"),
        ])
    func badAnswers(key: String, value: String, says: String) throws {
        var answers = InitAnswers(path: "/srv/app/rum.toml")
        let question = try #require(InitAnswers.questions.first { $0.key == key })
        #expect(answers.problem(with: key) == nil)
        answers[keyPath: question.answer] = value
        #expect(answers.problem(with: key)?.contains(says) == true, "\(answers.problem(with: key) ?? "fine")")
    }

    @Test(
        "The name comes from the file or the folder, and is always a good one",
        arguments: [
            ("/srv/app/rum.toml", "app"), ("/srv/app/dev.rum.toml", "dev"), ("/rum.toml", "dev"),
            ("/srv/my app!/rum.toml", "my-app-"), ("/srv/_x/rum.toml", "x"), ("/srv/Ünï/rum.toml", "n-"),
            ("/srv/...../rum.toml", "dev"),
        ])
    func names(path: String, name: String) throws {
        let answers = InitAnswers(path: path)
        #expect(answers.name == name)
        #expect(answers.problem(with: "name") == nil)
    }
}
