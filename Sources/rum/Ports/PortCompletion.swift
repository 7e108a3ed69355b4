import ArgumentParser
import Control
import Foundation
import Machine
import PortForward
import Ports
import RumConfig

/// What shells complete where a command takes a port and the name of whose ports are meant, in any order: what the
/// processes that forward know, and names.
enum PortCompletion {
    static let hostPorts = kind { "\($0.hostPort)" }
    static let guestPorts = kind { "\($0.guestPort)" }
    /// The static ones, as `rum ports rm` takes them.
    static let staticForwards = kind { forward in
        guard forward.kind == WantedForward.Kind.static.rawValue else { return nil }
        let bind = forward.bind.contains(":") ? "[\(forward.bind)]" : forward.bind
        let place = forward.bind == BindAddress.loopback.text ? "" : bind + ":"
        return "\(place)\(forward.hostPort):\(forward.guestPort)"
    }

    private static func kind(_ word: @escaping @Sendable (OwnerReport.Forward) -> String?) -> CompletionKind {
        .custom { words, index, _ in
            await candidates(before: Array(words.prefix(index)), word).map(\.forRequestingShell)
        }
    }

    /// - Parameter words: of the command line, before the one that is to be completed.
    private static func candidates(
        before words: [String], _ word: @escaping @Sendable (OwnerReport.Forward) -> String?
    ) async -> [String] {
        let names = forwardedNames()
        let (config, words) = configuration(in: words)
        let hasPort = words.contains {
            $0 == "--all" || PortNumber(text: $0) != nil || StaticPort(argument: $0) != nil
        }
        if hasPort {
            return config == nil ? names : []
        }
        if let name = words.first(where: names.contains) { return await ports(of: [name], config: nil, word) }
        let isHere = config != nil || (try? MachineChoice(name: nil, config: nil).configuredMachine()) != nil
        let ports = await ports(of: isHere ? [nil] : names, config: config, word)
        return config == nil ? ports + names : ports
    }

    /// The path behind -c or --config, and the other words. For bash, = is a word of its own.
    static func configuration(in words: [String]) -> (path: String?, others: [String]) {
        var (path, others): (String?, [String]) = (nil, [])
        var rest = words[...]
        while let word = rest.popFirst() {
            if ["-c", "--config"].contains(word) {
                if rest.first == "=" { rest.removeFirst() }
                path = rest.popFirst() ?? path
            } else if word.hasPrefix("--config=") {
                path = String(word.dropFirst("--config=".count))
            } else if word.hasPrefix("-c") {
                path = String(word.dropFirst(2))
            } else {
                others.append(word)
            }
        }
        return (path, others)
    }

    /// Sorted by number; without those of processes that do not answer.
    private static func ports(
        of names: [String?], config: String?, _ word: @escaping @Sendable (OwnerReport.Forward) -> String?
    ) async -> [String] {
        await withTaskGroup(of: [OwnerReport.Forward].self) { group in
            for name in names {
                group.addTask {
                    let forwarded = try? MachineChoice(name: name, config: config).forwarded()
                    return (try? await forwarded?.link.report())?.forwards ?? []
                }
            }
            let forwards = await group.reduce(into: []) { $0 += $1 }.sorted { $0.hostPort < $1.hostPort }
            var seen: Set<String> = []
            return forwards.compactMap(word).filter { seen.insert($0).inserted }
        }
    }
}

/// The machines that there are, for the shell to complete.
func machineNames() -> [String] {
    VirtualMachine.all(environment: ProcessInfo.processInfo.environment).map(\.config.name)
}

/// The same, and those of each `rum forward` that has one.
func forwardedNames() -> [String] {
    machineNames() + ForwardFiles.all(environment: ProcessInfo.processInfo.environment).map(\.name)
}

extension String {
    /// As the script for the shell that asks expects it: for zsh, a description follows a bare colon.
    var forRequestingShell: String {
        CompletionShell.requesting == .zsh
            ? split(separator: ":", omittingEmptySubsequences: false).joined(separator: "\\:") : self
    }
}
