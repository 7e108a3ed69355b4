import Foundation
import Ports
import RumConfig
import TestSupport
import Testing

@testable import rum

/// The samples have what public repositories have in theirs.
@Suite("A devcontainer.json becomes rules")
struct DevContainerTests {
    /// The rum.toml that is written, and what is not taken over.
    private func take(_ text: String) throws -> (config: MachineConfig, document: String, leftOut: [String]) {
        var answers = InitAnswers(path: "/srv/app/rum.toml")
        let container = try DevContainer(text: text)
        answers.take(container)
        let config = try MachineConfig.parse(answers.document, file: "/srv/app/rum.toml")
        return (config, answers.document, container.leftOut)
    }

    private func rules(_ text: String) throws -> [PortRule] {
        try take(text).config.autoPorts?.rules.map { rule in
            var rule = rule
            rule.line = nil
            return rule
        } ?? []
    }

    private static func rule(_ ports: String? = nil, _ edit: (inout PortRule) -> Void = { _ in }) -> PortRule
    {
        var rule = PortRule()
        rule.match.ports = [ports.flatMap { PortRange(text: $0) }].compactMap { $0 }
        edit(&rule)
        return rule
    }

    @Test("Ports and attributes, with comments, a trailing comma and other keys")
    func web() throws {
        let text = """
            // For format details, see https://aka.ms/devcontainer.json.
            {
                "name": "Node", /* a comment */
                "image": "mcr.microsoft.com/devcontainers/javascript-node:1-22-bookworm",
                "forwardPorts": [3000, 5173, 8080],
                "portsAttributes": {
                    "3000": { "label": "App", "onAutoForward": "notify" },
                    "5173": { "label": "Vite dev (game)", "onAutoForward": "openBrowserOnce", "protocol": "https" },
                },
                "postCreateCommand": "npm install",
            }
            """
        let result = try take(text)
        #expect(
            try rules(text) == [
                Self.rule("3000") { $0.label = "app" },
                Self.rule("5173") { rule in
                    rule.label = "vite-dev-game"
                    rule.scheme = .https
                    rule.opensPage = .once
                }, Self.rule("8080"),
            ])
        #expect(result.leftOut == ["what is not about ports: image, postCreateCommand"])
        #expect(result.document.contains("# Vite dev (game)\n[[auto_ports.rule]]\nport = 5173\n"))
        #expect(result.config.autoPorts?.range.description == "3000-9999" && result.config.ports.isEmpty)
    }

    @Test("The most exact rule comes first, and the range holds all of them")
    func order() throws {
        let text = #"""
            {
                "portsAttributes": {
                    ".+\\/server.js": { "label": "Server" },
                    "40000-55000": { "onAutoForward": "ignore" },
                    "2000-3000": { "label": "Some" },
                    "27017": { "label": "MongoDB", "onAutoForward": "ignore" },
                    "2222": { "requireLocalPort": false, "onAutoForward": "openBrowser" },
                    "5000": { "requireLocalPort": true }
                },
                "otherPortsAttributes": { "onAutoForward": "ignore" }
            }
            """#
        let server = try TextPattern(text: #"/.+\/server.js/"#)
        #expect(server.matches("node /srv/server.js") && !server.matches("node server.js"))
        #expect(
            try rules(text) == [
                Self.rule("2222") { rule in
                    rule.onConflict = .next
                    rule.opensPage = .always
                }, Self.rule("5000"),
                Self.rule("27017") { rule in
                    rule.action = .ignore
                    rule.label = "mongodb"
                }, Self.rule("2000-3000") { $0.label = "some" },
                Self.rule("40000-55000") { $0.action = .ignore },
                Self.rule { rule in
                    rule.match.command = server
                    rule.label = "server"
                }, Self.rule { $0.action = .ignore },
            ])
        #expect(try take(text).config.autoPorts?.range.description == "2000-55000")
    }

    @Test("A port of the system is open from the start instead, and what is always forwarded is not ignored")
    func lowPorts() throws {
        let text = """
            { "forwardPorts": [80, 443, 3000], "appPort": ["8080:80", "8081:3001", 9000],
              "portsAttributes": { "80": { "label": "Traefik" }, "3000": { "onAutoForward": "ignore" } } }
            """
        let result = try take(text)
        #expect(
            result.config.ports == [
                .init(host: port(80), guest: port(80)), .init(host: port(443), guest: port(443)),
            ])
        #expect(
            try rules(text) == [
                Self.rule("3000"), Self.rule("3001") { $0.firstHostPort = port(8081) }, Self.rule("9000"),
            ])
        #expect(
            result.leftOut == [#"portsAttributes "80", a port below 1024"#, #"appPort "8080:80""#])
    }

    @Test("A port of the system keeps its host port, whatever else asks for it")
    func lowHostPort() throws {
        let text = #"{ "forwardPorts": [80], "appPort": ["443:8443", "80:8081", "81:8082", 443] }"#
        let result = try take(text)
        #expect(
            result.config.ports == [
                .init(host: port(80), guest: port(80)), .init(host: port(443), guest: port(443)),
            ])
        #expect(try rules(text) == [Self.rule("8082") { $0.firstHostPort = port(81) }])
        #expect(
            result.leftOut == [
                #"appPort "443:8443", since host port 443 leads to port 443"#,
                #"appPort "80:8081", since host port 80 leads to port 80"#,
            ])
    }

    @Test("A port of the system that is named twice is open once")
    func lowPortTwice() throws {
        let config = try take(#"{ "forwardPorts": [80, "80"], "appPort": 80 }"#).config
        #expect(config.ports == [.init(host: port(80), guest: port(80))])
    }

    /// Ports and attributes as public repositories have them, with the rule for each port and what is left out.
    struct Combination: Sendable, CustomTestStringConvertible {
        /// Port to label and onAutoForward.
        var attributes: [UInt16: (label: String, action: String)]
        var forward: [UInt16]
        /// Port to label and how its page is opened.
        var rules: [UInt16: (label: String, opens: PortRule.PageOpening?)]
        var rest: [UInt16] = []
        var fixed: [UInt16] = []
        var leftOut: [String] = []
        var testDescription: String { "\(forward)" }
    }

    static let combinations = [
        // A desktop in the browser beside an application server.
        Combination(
            attributes: [
                8080: ("Tomcat", "notify"), 5901: ("VNC Server", "silent"),
                6080: ("noVNC Web Client", "openBrowser"),
            ],
            forward: [8080, 5901, 6080],
            rules: [8080: ("tomcat", nil), 5901: ("vnc-server", nil), 6080: ("novnc-web-client", .always)],
            leftOut: [#"onAutoForward silent of portsAttributes "5901""#]),
        // A model server and notebooks.
        Combination(
            attributes: [
                8000: ("FastAPI Server", "notify"), 11434: ("Ollama Server", "silent"),
                8888: ("Jupyter Lab", "openBrowser"),
            ],
            forward: [8000, 11434, 8888],
            rules: [
                8000: ("fastapi-server", nil), 11434: ("ollama-server", nil), 8888: ("jupyter-lab", .always),
            ],
            leftOut: [#"onAutoForward silent of portsAttributes "11434""#]),
        // Only some of the ports have attributes.
        Combination(
            attributes: [3000: ("Frontend", "notify"), 3001: ("API", "silent")],
            forward: [3000, 3001, 5432, 6379], rules: [3000: ("frontend", nil), 3001: ("api", nil)],
            rest: [5432, 6379], leftOut: [#"onAutoForward silent of portsAttributes "3001""#]),
        // The ingress of a cluster.
        Combination(
            attributes: [
                3000: ("Grafana", "notify"), 7007: ("Backstage", "notify"), 8080: ("ArgoCD", "notify"),
            ],
            forward: [80, 443, 3000, 7007, 8080, 9090],
            rules: [3000: ("grafana", nil), 7007: ("backstage", nil), 8080: ("argocd", nil)], rest: [9090],
            fixed: [80, 443]),
        // The templates of a hosted editor.
        Combination(
            attributes: [3000: ("Application", "openPreview")], forward: [3000],
            rules: [3000: ("application", nil)],
            leftOut: [#"onAutoForward openPreview of portsAttributes "3000""#]),
    ]

    @Test("Combinations that public repositories have", arguments: combinations)
    func found(_ sample: Combination) throws {
        let list = sample.attributes.map {
            #""\#($0)": { "label": "\#($1.label)", "onAutoForward": "\#($1.action)" }"#
        }.joined(separator: ", ")
        let result = try take(
            #"{ "forwardPorts": \#(sample.forward), "portsAttributes": { \#(list) } }"#)
        let wanted = sample.rules.sorted { $0.key < $1.key }.map { number, rule in
            Self.rule("\(number)") { ($0.label, $0.opensPage) = (rule.label, rule.opens) }
        }
        var rest = PortRule()
        rest.match.ports = sample.rest.compactMap { PortRange(port($0), port($0)) }
        let found = result.config.autoPorts?.rules.map { rule in
            var rule = rule
            rule.line = nil
            return rule
        }
        #expect(found == wanted + (sample.rest.isEmpty ? [] : [rest]))
        #expect(result.config.ports.map(\.host.rawValue) == sample.fixed)
        #expect(result.leftOut == sample.leftOut)
        // Nothing there means that somebody is to be asked first.
        #expect(result.config.autoPorts?.rules.contains { $0.action == .ask } == false)
    }

    @Test("What has no counterpart is told")
    func leftOut() throws {
        let text = #"""
            {
                "forwardPorts": ["db:5432", 8000],
                "portsAttributes": {
                    "db:5432": { "label": "PostgreSQL" },
                    "8000": { "label": "网站", "onAutoForward": "silent", "elevateIfNeeded": true, "protocol": "ws" },
                    "8001": { "onAutoForward": "openPreview" },
                    "(?<a>x)": { "label": "Named" }
                }
            }
            """#
        #expect(
            try take(text).leftOut == [
                #"forwardPorts "db:5432", which is not a port of the machine itself"#,
                #"the label of portsAttributes "8000", which has no letter from a to z"#,
                #"elevateIfNeeded of portsAttributes "8000""#, #"protocol of portsAttributes "8000""#,
                #"onAutoForward silent of portsAttributes "8000""#,
                #"onAutoForward openPreview of portsAttributes "8001""#,
                #"portsAttributes "(?<a>x)", since (? is not supported, but for (?:"#,
                #"portsAttributes "db:5432", which is not a port of the machine itself"#,
            ])
        #expect(try rules(text) == [Self.rule("8000"), Self.rule("8001")])
    }

    @Test("Nothing in it can break out of the comment or the text that it becomes")
    func hostile() throws {
        let text = #"""
            { "portsAttributes": {
                "3000": { "label": "x\n[provision.boot]\nscript = \"id\"" },
                "a\"\n[provision.boot]\nscript = \"id": { "label": "y" } } }
            """#
        let config = try take(text).config
        #expect(config.provision == MachineConfig.Provision())
        #expect(config.autoPorts?.rules.count == 2)
    }

    @Test(
        "What is no devcontainer.json is told", arguments: ["", "[1]", "{", "3", "{ \"forwardPorts\": [ }"])
    func bad(text: String) { #expect(throws: DevContainer.Problem.self) { try DevContainer(text: text) } }

    @Test("A range that leaves a rule out is refused")
    func narrowRange() throws {
        var answers = InitAnswers(path: "/srv/app/rum.toml")
        answers.take(try DevContainer(text: #"{ "forwardPorts": [3000] }"#))
        answers.autoPorts = "5000-6000"
        #expect(
            answers.problem(with: "auto_ports.range")
                == "3000 lies outside auto_ports.range 5000-6000, so this rule never matches it")
    }

    @Test("What is forwarded in any case comes before a range or a text that is ignored")
    func forwardedInIgnored() throws {
        let text = #"""
            { "forwardPorts": [4500, 9000], "appPort": 4600,
              "portsAttributes": {
                "4000-4500": { "label": "Some" }, "4000-5000": { "onAutoForward": "ignore" },
                "node": { "onAutoForward": "ignore" } } }
            """#
        var fixed = PortRule()
        fixed.match.ports = [4500, 9000, 4600].map { PortRange(port($0), port($0)) }.compactMap { $0 }
        #expect(
            try rules(text) == [
                Self.rule("4000-4500") { $0.label = "some" }, fixed,
                Self.rule("4000-5000") { $0.action = .ignore },
                Self.rule { rule in
                    rule.match.command = try? TextPattern(text: "/node/")
                    rule.action = .ignore
                },
            ])
    }

    @Test("A published port keeps its host port and its attributes, and is not ignored")
    func published() throws {
        let text = #"""
            { "appPort": ["8080:3000", "8081:3001", "8082:3001", "8083:4000"], "forwardPorts": [4000],
              "portsAttributes": {
                "3000": { "label": "Web", "onAutoForward": "ignore" }, "3000-4000": { "label": "Some" } } }
            """#
        #expect(
            try rules(text) == [
                Self.rule("3000") { ($0.label, $0.firstHostPort) = ("web", port(8080)) },
                Self.rule("3001") { ($0.label, $0.firstHostPort) = ("some", port(8081)) },
                Self.rule("3000-4000") { $0.label = "some" }, Self.rule("4000"),
            ])
        #expect(
            try take(text).leftOut == [
                #"appPort "8082:3001", since port 3001 has a host port already"#,
                #"appPort "8083:4000", since port 4000 has a host port already"#,
            ])
    }

    @Test("Attributes of all other ports are those of forwarded ports without any, too")
    func otherAttributes() throws {
        let text = #"""
            { "forwardPorts": [3000],
              "otherPortsAttributes": { "protocol": "https", "onAutoForward": "ignore" } }
            """#
        #expect(
            try rules(text) == [
                Self.rule("3000") { $0.scheme = .https }, Self.rule { $0.action = .ignore },
            ])
        #expect(try take(text).leftOut == [])
    }

    @Test("No more rules than a rum.toml may have, and a text of nothing is none")
    func tooMany() throws {
        let ports = (3000..<3100).map { #""\#($0)": { "label": "p\#($0)" }"# } + [#""": { "label": "x" }"#]
        let text = """
            { "portsAttributes": { \(ports.joined(separator: ", ")) },
              "otherPortsAttributes": { "onAutoForward": "ignore" } }
            """
        let rules = try rules(text)
        #expect(rules.count == 64 && rules.last == Self.rule { $0.action = .ignore })
        #expect(
            try take(text).leftOut == [
                #"portsAttributes "", which names no port"#,
                "37 of portsAttributes and appPort, since a rum.toml has 64 rules at most",
            ])
    }

    @Test("A range that holds a port of the system is refused")
    func wideRange() throws {
        var answers = InitAnswers(path: "/srv/app/rum.toml")
        answers.take(try DevContainer(text: #"{ "forwardPorts": [80] }"#))
        answers.autoPorts = "1-9999"
        #expect(answers.problem(with: "auto_ports.range")?.contains("host port 80 lies in") == true)
    }

    @Test("Types that nobody expects are passed over")
    func types() throws {
        let text = """
            { "forwardPorts": 3000, "portsAttributes": [1], "otherPortsAttributes": null,
              "appPort": { "a": 1 } }
            """
        #expect(try rules(text) == [])
        #expect(try take(text).leftOut == ["appPort {...}"])
    }
}
