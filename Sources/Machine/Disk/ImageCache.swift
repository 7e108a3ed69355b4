internal import FoundationEssentials
internal import RumConfig

/// Turns `image.base` into a file on this host, downloading it once.
struct ImageCache: Sendable {
    /// The folder of downloaded images.
    let directory: String
    let progress: MachineProgress

    /// The path of the image, checked against its sha256.
    func resolve(_ image: MachineConfig.Image) async throws(MachineError) -> String {
        switch image.base {
        case .path(let path):
            guard MachineFiles.exists(path) else {
                throw MachineError(
                    .image, "there is no image at \(path)",
                    hint: "Correct image.base; a relative path starts at the folder of rum.toml.")
            }
            if let expected = image.sha256 {
                progress(MachineStep("Checking the image's sha256"))
                try await DiskImage.check(path, digest: expected, source: path)
            }
            return path
        case .url(let url):
            return try await download(url, digest: image.sha256)
        }
    }

    /// Where the image of `url` is cached. With a digest the name follows the content, so that a new digest
    /// means a new download.
    func location(of url: String, digest: String?) -> String {
        let last = url.split(separator: "/").last.map(String.init) ?? "image"
        let name = String(
            last.prefix { $0 != "?" && $0 != "#" }.filter {
                $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0))
            }.suffix(80))
        return "\(directory)/\(digest ?? Self.fingerprint(url))-\(name)"
    }

    /// FNV-1a, 64 bits: tells the URLs of one cache apart, and is the same in every process.
    private static func fingerprint(_ text: String) -> String {
        let hash = text.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        return String(hash, radix: 16)
    }

    private func download(_ url: String, digest: String?) async throws(MachineError) -> String {
        try MachineFiles.makeDirectory(directory)
        let path = location(of: url, digest: digest)
        if MachineFiles.exists(path) { return path }
        let progress = progress
        try await FileLock.holding(path + ".lock") {
            progress(MachineStep("Waiting for another download of \(url)"))
        } _: { () async throws(MachineError) in
            // Another process may have finished it meanwhile.
            if MachineFiles.exists(path) { return }
            try await fetch(url, to: path + ".part", digest: digest)
            try MachineFiles.move(path + ".part", to: path)
        }
        return path
    }

    /// Downloads into `part`. What an earlier try left is continued only when a digest can tell a mixture of two
    /// versions from the image.
    private func fetch(_ url: String, to part: String, digest: String?) async throws(MachineError) {
        let resumes = digest != nil && MachineFiles.exists(part)
        if !resumes { try MachineFiles.remove(part) }
        do {
            try await transfer(url, to: part)
            guard let digest else { return }
            progress(MachineStep("Checking the image's sha256"))
            try await DiskImage.check(part, digest: digest, source: url)
        } catch let error where error.kind == .image && resumes {
            try MachineFiles.remove(part)
            try await fetch(url, to: part, digest: digest)
        } catch {
            // Only an interrupted transfer is worth keeping.
            if error.kind == .image { try MachineFiles.remove(part) }
            throw error
        }
    }

    private func transfer(_ url: String, to part: String) async throws(MachineError) {
        let headers = part + ".headers"
        try MachineFiles.remove(headers)
        let start = Self.size(of: part)
        let progress = progress
        let arguments = [
            "--fail", "--location", "--silent", "--show-error", "--connect-timeout", "20",
            "--speed-limit", "1", "--speed-time", "60", "--continue-at", "-", "--dump-header", headers,
            "--output", part, "--", url,
        ]
        progress(MachineStep("Downloading \(url)"))
        let outcome = await withTaskGroup(of: Result<Tool.Outcome, MachineError>?.self) { group in
            group.addTask {
                do throws(MachineError) {
                    return .success(try await Tool.curl.outcome(of: arguments))
                } catch {
                    return .failure(error)
                }
            }
            group.addTask {
                while (try? await Task.sleep(for: .seconds(1))) != nil {
                    let total = Self.contentLength(headers).map { $0 + start }
                    let size = Double(Self.size(of: part))
                    // The sentence stays the same, so that it is one line however long it takes.
                    progress(
                        MachineStep(
                            "Downloading \(url)",
                            fraction: total.map { $0 > 0 ? min(1, size / Double($0)) : 1 }))
                }
                return nil
            }
            let first = await group.next()
            group.cancelAll()
            return first ?? nil
        }
        try MachineFiles.remove(headers)
        guard let outcome else {
            throw MachineError(.tool, "the download of \(url) was interrupted", hint: "Run it again.")
        }
        try Self.check(try outcome.get(), url: url)
    }

    /// Turns curl's exit into an error; its codes are those of curl(1), EXIT CODES.
    private static func check(_ outcome: Tool.Outcome, url: String) throws(MachineError) {
        if outcome.succeeded { return }
        let message = "cannot download \(url): \(outcome.complaint)"
        switch outcome.exitCode {
        case 6, 7, 28, 35:
            throw MachineError(
                .tool, message, hint: "Check the network; image.base may also be the path of a file.")
        case 22, 33, 36:
            // Refused by the server, or it cannot continue.
            throw MachineError(.image, message, hint: "Check the URL in image.base.")
        case 23: throw MachineError(.files, message, hint: "Free some disk space, or set RUM_CACHE.")
        default:
            throw MachineError(.tool, message, hint: "Run it again to continue, or fetch the image by hand.")
        }
    }

    private static func size(of path: String) -> Int {
        let attributes = try? FileManager.default.attributesOfItem(atPath: path)
        return (attributes?[.size] as? UInt64).flatMap(Int.init(exactly:)) ?? 0
    }

    /// The Content-Length of the last response in a file of headers; redirects come before it.
    static func contentLength(_ path: String) -> Int? {
        guard let bytes = FileManager.default.contents(atPath: path) else { return nil }
        let lines = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline)
        let prefix = "content-length:"
        return lines.last { $0.lowercased().hasPrefix(prefix) }
            .flatMap { Int($0.dropFirst(prefix.count).filter { !$0.isWhitespace }) }
    }
}
