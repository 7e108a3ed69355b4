import Foundation
import FoundationXML
import RumConfig
import TestSupport
import Testing

@testable import Machine

/// Texts made of what XML, YAML, shells, ISO 9660 tools and terminals treat in a special way.
private enum Hostile {
    static let pieces = [
        "a", " ", "'", "\"", "\\", "<", ">", "&", "]]>", "<!--", "&amp;", "{{", "{%", "%s", "$(id)", "`id`",
        ";",
        "|", "\n", "\r", "\t", "#", ": ", "- ", "*", "!!", "=", ",", "[", "]", "{", "}", "?", "~", "..", "/",
        "\u{1}",
        "\u{7f}", "\u{85}", "\u{9b}", "\u{a0}", "\u{2028}", "\u{2029}", "\u{feff}", "\u{fffe}", "\u{ffff}",
        "\u{202e}",
        "é", "日", "😀", "yes", "null", "0x1f", "1e3", "---", "...", "\u{10ffff}", "-",
    ]

    /// Every piece alone, and mixtures that are the same in every run.
    static let samples: [String] = {
        var generator = SeededGenerator(seed: 0x5eed)
        return pieces
            + (0..<300).map { _ in
                (0..<Int.random(in: 2...12, using: &generator)).map { _ in
                    pieces.randomElement(using: &generator) ?? ""
                }.joined()
            }
    }()
}

@Suite("Hostile text in what other programs read")
struct HostileStringTests {
    /// Collects the text and the attribute of a document's only element.
    private final class Collector: NSObject, XMLParserDelegate {
        var text = ""
        var attribute: String?
        var elements = 0

        func parser(
            _ parser: XMLParser, didStartElement name: String, namespaceURI: String?,
            qualifiedName: String?, attributes: [String: String]
        ) {
            elements += 1
            attribute = attributes["a"]
        }

        func parser(_ parser: XMLParser, foundCharacters string: String) { text += string }
    }

    @Test("An XML reader finds every text again, but for what XML cannot hold")
    func xml() throws {
        for sample in Hostile.samples {
            let document = XMLElement("x", ["a": sample], text: sample).document()
            let parser = XMLParser(data: Data(document.utf8))
            let collector = Collector()
            parser.delegate = collector
            #expect(parser.parse(), "\(document.debugDescription)")
            let expected = String(
                String.UnicodeScalarView(
                    sample.unicodeScalars.filter { $0 != "\u{1}" && $0 != "\u{fffe}" && $0 != "\u{ffff}" }))
            #expect(collector.elements == 1)
            #expect(collector.attribute == expected)
            #expect(collector.text == expected)
        }
    }

    @Test("A YAML reader finds every text again in the seed, and nothing beside it")
    func yaml() async throws {
        let folder = try TestFolder()
        for (name, user) in [("user", "rum"), ("root", "root")] {
            let seed = GuestSeed(
                instanceID: "i", hostname: "h", user: user, authorizedKeys: Hostile.samples,
                listen: ["vsock"],
                token: "t", bundleDigest: "d", systemScript: nil, bootScript: nil)
            let data = try folder.file(name + ".yaml", try #require(seed.files["user-data"]))
            let expected = try folder.file(name + ".json", "")
            try JSONEncoder().encode(Hostile.samples).write(to: URL(fileURLWithPath: expected))
            let script = """
                import json, sys, yaml
                data = yaml.safe_load(open(sys.argv[1], encoding="utf-8", newline=""))
                keys = data["ssh_authorized_keys"] if "ssh_authorized_keys" in data else data["users"][0]["ssh_authorized_keys"]
                assert keys == json.load(open(sys.argv[2])), "the keys differ"
                assert len(data["bootcmd"]) == 1
                """
            let outcome = try await Tool(name: "python3", package: "python3").outcome(
                of: ["-c", script, data, expected])
            #expect(outcome.succeeded, "\(outcome.complaint)")
        }
    }

    @Test("Scripts reach the guest byte for byte, and change no other file of the seed")
    func scripts() throws {
        var seed = GuestSeed(
            instanceID: "i", hostname: "h", user: "rum", authorizedKeys: [], listen: ["vsock"], token: "t",
            bundleDigest: "d", systemScript: nil, bootScript: nil)
        let others = seed.files
        for sample in Hostile.samples {
            seed.systemScript = sample
            var files = seed.files
            let script = try #require(files["provision-system"])
            files["provision-system"] = nil
            let expected = "#!/bin/sh -e\n" + sample + (sample.hasSuffix("\n") ? "" : "\n")
            #expect(script.utf8.elementsEqual(expected.utf8))
            #expect(files == others)
        }
    }

    @Test("What becomes a part of a unit, an option or a file's name is of few characters, or refused")
    func words() throws {
        var accepted = 0
        for sample in Hostile.samples + ["dev", "a-b", "_x", "q35", "pc-i440fx-9.2"] {
            let text = "\"" + sample.unicodeScalars.map(Self.escaped).joined() + "\""
            for key in ["name", "ssh.user", "advanced.machine"] {
                let file = "image.base = \"/x\"\n\(key) = \(text)\n"
                guard let config = try? MachineConfig.parse(file, file: "/srv/app/rum.toml") else { continue }
                accepted += 1
                for word in [config.name, config.ssh.user] {
                    #expect(
                        !word.isEmpty && !word.hasPrefix("-") && !word.hasPrefix("."),
                        "\(word.debugDescription)")
                }
                for word in [config.name, config.ssh.user, config.advanced.machine] {
                    let isPlain = word.utf8.allSatisfy(Self.isPlain)
                    #expect(isPlain, "\(word.debugDescription)")
                }
            }
        }
        #expect(accepted >= 5)
    }

    private static func escaped(_ scalar: Unicode.Scalar) -> String {
        let digits = String(scalar.value, radix: 16)
        return "\\U" + String(repeating: "0", count: 8 - digits.count) + digits
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
            true
        default: false
        }
    }

    @Test(
        "A seed is made in folders of any name",
        arguments: ["a b", "o'brien", "x=y", "back\\slash", "-dash", "é日", "$(id)", "a;b", "*"])
    func iso(name: String) async throws {
        let folder = try TestFolder()
        let place = try folder.folder(name)
        let seed = GuestSeed(
            instanceID: "i", hostname: "h", user: "rum", authorizedKeys: [], listen: ["vsock"], token: "t",
            bundleDigest: "d", systemScript: "true", bootScript: nil)
        let bundle = place + "/bundle.tar.gz"
        _ = try write(Array("bundle".utf8), to: bundle)
        try await SeedImage.write(seed, bundle: bundle, to: place + "/seed.iso")
        let out = folder.path + "/out"
        try await Tool.xorriso.output(of: [
            "-osirrox", "on", "-indev", place + "/seed.iso", "-extract", "/", out,
        ])
        #expect(try bytes(of: out + "/rum-agent.tar.gz") == Array("bundle".utf8))
        #expect(try readText(out + "/provision-system") == seed.files["provision-system"])
    }
}
