import ArgumentParser
import CommandMain
import Foundation
import Linux
import Machine
import RumConfig

struct ImagesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "images", abstract: "Show the images that have names, and the cache of images.",
        subcommands: [List.self, Prune.self], defaultSubcommand: List.self)

    /// One image: of a name, of the cache, or both.
    struct Row: Encodable {
        /// What `image.base` calls it; nil for one that was downloaded by its URL.
        @OrNull var name: String? = nil
        @OrNull var url: String? = nil
        /// The file in the cache, with the bytes it takes.
        @OrNull var path: String? = nil
        @OrNull var size: UInt64? = nil
        /// Whether a machine stands on it, which keeps it when the cache is cleared.
        @OrNull var inUse: Bool? = nil

        enum CodingKeys: String, CodingKey {
            case name, url, path, size
            case inUse = "in_use"
        }

        init(_ image: NamedImage?, _ cached: CachedImage?) {
            name = image?.name ?? cached?.imageName
            url = image?.url
            path = cached?.path
            size = cached?.size
            inUse = cached?.isInUse
        }

        var text: String {
            let held = size.map { ImagesCommand.mebibytes($0) + (inUse == true ? ", in use" : "") } ?? "-"
            let columns = [(name ?? "-").padding(to: 20), held.padding(to: 18), url ?? path ?? ""]
            return columns.map { $0.printable(limit: 1000) }.joined(separator: "  ")
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "Show the names for image.base, and what is cached of them.")

        @OptionGroup var talk: TalkOptions

        @Flag(help: "Print one JSON array.")
        var json = false

        func run() async throws {
            let environment = ProcessInfo.processInfo.environment
            let cached = CachedImage.images(environment: environment)
            var rows = NamedImage.all.flatMap { image in
                let held = cached.filter { $0.imageName == image.name }
                return held.isEmpty ? [Row(image, nil)] : held.map { Row(image, $0) }
            }
            rows += cached.filter { $0.imageName == nil }.map { Row(nil, $0) }
            if talk.verbose { StandardError.line("rum: the cache is \(CachedImage.folder(environment))") }
            if json { return try await StandardOutput.line(rows.jsonLine) }
            for row in rows { try await StandardOutput.line(row.text) }
        }
    }

    struct Prune: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "prune",
            abstract: "Remove all downloaded images from the cache; machines keep what they stand on.")

        @OptionGroup var talk: TalkOptions

        @Flag(help: "Print one JSON array of what was removed.")
        var json = false

        func run() async throws {
            let environment = ProcessInfo.processInfo.environment
            let removed = try await explained { () async throws(MachineError) in
                try CachedImage.prune(environment: environment)
            }
            if json { return try await StandardOutput.line(removed.map { Row(nil, $0) }.jsonLine) }
            for file in removed where talk.verbose {
                StandardError.line("rum: removed \(file.path.printable(limit: 1000))")
            }
            let freed = removed.filter { !$0.isInUse }.reduce(0) { $0 + $1.size }
            try await StandardOutput.line("Removed \(removed.count) files, \(ImagesCommand.mebibytes(freed))")
        }
    }

    private static func mebibytes(_ bytes: UInt64) -> String { "\(bytes >> 20) MiB" }
}
