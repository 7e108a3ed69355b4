import ArgumentParser
import Testing

@testable import rum

@Suite("What shells complete")
struct PortCompletionTests {
    @Test(
        "A configuration is found however it is given, and as bash splits it",
        arguments: [
            (["rum", "ports", "why", "-c", "a.toml", "dev"], "a.toml", ["rum", "ports", "why", "dev"]),
            (["-ca.toml", "5"], "a.toml", ["5"]), (["--config=a.toml", "5"], "a.toml", ["5"]),
            (["--config", "a.toml", "5"], "a.toml", ["5"]),
            (["--config", "=", "a.toml", "5"], "a.toml", ["5"]), (["5", "-c"], nil, ["5"]),
            (["5", "--json", "-v"], nil, ["5", "--json", "-v"]),
        ] as [([String], String?, [String])])
    func configuration(words: [String], path: String?, others: [String]) {
        let found = PortCompletion.configuration(in: words)
        #expect(found.path == path && found.others == others)
    }

    @Test(
        "Behind rum ports every shell offers names beside the commands", arguments: CompletionShell.allCases)
    func names(shell: CompletionShell) {
        let script = Rum.completionScript(for: shell)
        let added = CompletionScript.offeringNames(script).split(separator: "\n").count {
            $0.contains("---completion ports show -- positional@0")
        }
        #expect(added == 2)
        #expect(CompletionScript.offeringNames(Rum.helpMessage()) == Rum.helpMessage())
    }
}
