import ArgumentParser
import CommandMain
import Foundation
import Machine

struct CpCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cp",
        abstract: "Copy files between this host and the guest.",
        usage: "rum cp [-r] [--root] [-c <file>] <source> ... <destination>",
        discussion: """
            One side is in the guest: NAME:PATH, or :PATH for the machine of rum.toml. A path that is not absolute \
            begins in the home of the machine's user, who also owns what is copied there. Modes and times are kept. \
            It is the scp of this host, over the same way as `rum ssh`; with --root over that of `rum exec`, to the \
            guest's sftp-server. A path of this host with a colon in it is written with a slash before the colon, such \
            as ./a:b.
            """)

    @Flag(name: [.customShort("r"), .long], help: "Copy folders with all that is in them.")
    var recursive = false

    @Flag(
        help: """
            Read and write as root in the guest, who then owns what is copied there, and whose home paths that are not \
            absolute begin in. The guest needs an sftp-server, and no sshd.
            """)
    var root = false

    @Option(
        name: [.customShort("c", allowingJoined: true), .customLong("config")],
        help: ArgumentHelp(
            "The machine's configuration, for :PATH; else rum.toml in this folder or one above.",
            valueName: "file"))
    var config: String?

    @OptionGroup var talk: TalkOptions

    @Argument(help: "What to copy, and where to.", completion: .file())
    var paths: [String]

    func validate() throws { _ = try CopyPlan(paths) }

    func run() async throws {
        let plan = try CopyPlan(paths)
        if let config, !plan.machine.isEmpty {
            throw CommandFailure(
                "both -c \(config) and \(plan.machine):PATH name a machine", hint: "write :PATH with -c",
                status: .usage)
        }
        let name = plan.machine.isEmpty ? nil : plan.machine
        let machine = try MachineChoice(name: name, config: config).machine()
        let way = root ? ["-S", machine.files.sftpAsRoot] : try SshSettings(machine).options
        try checkSources(plan)
        _ = try await ExecSession(machine: machine, verbose: false).runningMachine()
        if root { try explainedNow { () throws(MachineError) in try SftpAsRoot.write(machine) } }
        // The SFTP protocol takes names as they are; the older one had the guest's shell read them.
        var arguments = ["-s", "-p"] + way
        if recursive { arguments.append("-r") }
        if talk.verbose { arguments.append("-v") }
        try SshProgram.become("scp", arguments + ["--"] + plan.words(for: SshSettings.host(machine)))
    }

    /// Tells in rum's own words what can be known here.
    private func checkSources(_ plan: CopyPlan) throws(CommandFailure) {
        for case .host(let path) in plan.sources {
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
                throw CommandFailure(
                    "there is no \(path) on this host",
                    hint: "a path in the guest is written as :PATH or NAME:PATH")
            }
            if isFolder.boolValue, !recursive {
                throw CommandFailure("\(path) is a folder", hint: "add -r to copy it with all that is in it")
            }
        }
    }
}

/// What is copied where.
struct CopyPlan: Equatable {
    enum Place: Equatable {
        case host(String)
        case guest(String)

        var isGuest: Bool { if case .guest = self { true } else { false } }
    }

    /// The machine's name; empty for that of rum.toml.
    let machine: String
    let sources: [Place]
    let destination: Place

    init(_ paths: [String]) throws(ValidationError) {
        guard paths.count > 1, let last = paths.last else {
            throw ValidationError("give what to copy and where to, such as `rum cp notes.txt :notes.txt`")
        }
        var machines: Set<String> = []
        func place(_ text: String) -> Place {
            let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[0].contains("/") else { return .host(text) }
            machines.insert(String(parts[0]))
            return .guest(String(parts[1]))
        }
        sources = paths.dropLast().map(place)
        destination = place(last)
        let isMixed = Set(sources.map(\.isGuest)).count > 1
        guard !isMixed, sources.first?.isGuest != destination.isGuest else {
            throw ValidationError(
                "one side must be in the guest, as NAME:PATH or :PATH, and the other one on this host")
        }
        guard machines.count == 1, let name = machines.first else {
            throw ValidationError("all paths in the guest must be of one machine")
        }
        machine = name
    }

    /// As scp wants it.
    func words(for host: String) -> [String] {
        (sources + [destination]).map { place in
            switch place {
            case .guest(let path): "\(host):\(path)"
            // What has no slash before a colon would be another host's.
            case .host(let path): path.hasPrefix("/") || path.hasPrefix(".") ? path : "./\(path)"
            }
        }
    }
}
