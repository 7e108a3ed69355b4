internal import FoundationEssentials
internal import RumConfig

/// Turns `image.base` into a file on this host, downloading it once.
struct ImageCache: Sendable {
    /// The folder of downloaded images.
    let directory: String
    let progress: MachineProgress

    /// An image that was looked at, and is fit to start from.
    struct Base: Hashable, Sendable {
        let path: String
        let info: DiskImage.Info
        /// Whether the file may go away with the cache.
        let isCached: Bool
    }

    /// The image, checked against its sha256 and by its content; unpacked if it was packed.
    func resolve(_ image: MachineConfig.Image) async throws(MachineError) -> Base {
        switch image.base {
        case .path(let path): return try await local(path, digest: image.sha256)
        case .url(let url): return try await download(url, digest: image.sha256)
        }
    }

    private func local(_ path: String, digest: String?) async throws(MachineError) -> Base {
        let file = try ImageFile(path)
        if let digest {
            progress(MachineStep("Checking the image's sha256"))
            try await DiskImage.check(path, digest: digest, source: path)
        }
        guard case .packed = file.content else { return try await checked(path) }
        let stamp = try BaseStamp(path: path)
        let place = location(of: "\(path)#\(stamp.size)#\(stamp.modified)", digest: digest)
        return try await once(place, waitingFor: path) { () async throws(MachineError) in
            try await unpack(path, to: place + ".unpacked")
            return place + ".unpacked"
        }
    }

    /// The image at `path` as it is, if it is whole.
    private func checked(_ path: String) async throws(MachineError) -> Base {
        let info = try DiskImage.info(path)
        progress(MachineStep("Checking the image"))
        try await DiskImage.checkWhole(path, info)
        return Base(path: path, info: info, isCached: false)
    }

    /// The image that is cached at `path`; unless it is there already, `make` makes a file that is checked and
    /// becomes it. One process at a time makes it.
    private func once(
        _ path: String, waitingFor source: String, _ make: () async throws(MachineError) -> String
    ) async throws(MachineError) -> Base {
        try MachineFiles.makeDirectory(directory)
        if MachineFiles.exists(path) {
            return Base(path: path, info: try DiskImage.info(path), isCached: true)
        }
        let progress = progress
        return try await FileLock.holding(path + ".lock") {
            progress(MachineStep("Waiting for another download of \(source)"))
        } _: { () async throws(MachineError) in
            // Another process may have finished it meanwhile.
            if MachineFiles.exists(path) {
                return Base(path: path, info: try DiskImage.info(path), isCached: true)
            }
            let made = try await make()
            do throws(MachineError) {
                let info = try await checked(made).info
                try MachineFiles.move(made, to: path)
                return Base(path: path, info: info, isCached: true)
            } catch {
                try MachineFiles.remove(made)
                throw error
            }
        }
    }

    /// Unpacks the file at `path`, whatever it is packed with, to `target`.
    private func unpack(_ path: String, to target: String) async throws(MachineError) {
        guard case .packed(let packing) = try ImageFile(path).content else { return }
        progress(MachineStep("Unpacking \(path) with \(packing.tool.name)"))
        do throws(MachineError) {
            try await packing.tool.write(output: ["-dc", "--", path], to: target)
        } catch {
            try MachineFiles.remove(target)
            guard error.kind == .tool else { throw error }
            throw ImageFault("cannot be unpacked: \(error.message)", hint: "Fetch it again.").error(path)
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
        return "\(directory)/\(digest ?? Fingerprint.of(url))-\(name)"
    }

    private func download(_ url: String, digest: String?) async throws(MachineError) -> Base {
        let path = location(of: url, digest: digest)
        return try await once(path, waitingFor: Self.shown(url)) { () async throws(MachineError) in
            let part = path + ".part"
            try await fetch(url, to: part, digest: digest)
            do throws(MachineError) {
                guard case .packed = try ImageFile(part).content else { return part }
                try await unpack(part, to: path + ".unpacked")
                try MachineFiles.remove(part)
                return path + ".unpacked"
            } catch {
                if error.kind == .image { try MachineFiles.remove(part) }
                throw error
            }
        }
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
            try await DiskImage.check(part, digest: digest, source: Self.shown(url))
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
        let shown = Self.shown(url)
        // Not what ~/.curlrc says: --disable must come first. The URL is no argument, since those can be seen by all.
        let arguments = [
            "--disable", "--proto", "=http,https,file", "--proto-redir", "=http,https", "--fail",
            "--location", "--silent", "--show-error",
            "--connect-timeout", "\(MachineLimits.connectSeconds)",
            "--speed-limit", "1", "--speed-time", "\(MachineLimits.silenceSeconds)", "--continue-at", "-",
            "--dump-header", headers,
            "--output", part, "--config", "-",
        ]
        progress(MachineStep("Downloading \(shown)"))
        let outcome = await withTaskGroup(of: Result<Tool.Outcome, MachineError>?.self) { group in
            group.addTask {
                do throws(MachineError) {
                    return .success(
                        try await Tool.curl.outcome(of: arguments, input: Self.configuration(url)))
                } catch {
                    return .failure(error)
                }
            }
            group.addTask {
                while (try? await Task.sleep(for: MachineLimits.progressInterval)) != nil {
                    let total = Self.contentLength(headers).map { $0 + start }
                    let size = Double(Self.size(of: part))
                    // The sentence stays the same, so that it is one line however long it takes.
                    progress(
                        MachineStep(
                            "Downloading \(shown)",
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
            throw MachineError(.tool, "the download of \(shown) was interrupted", hint: "Run it again.")
        }
        try Self.check(try outcome.get(), url: shown)
    }

    /// The URL as it is shown: without name, password and query, which may hold secrets.
    static func shown(_ url: String) -> String {
        guard let mark = url.firstRange(of: "://") else { return url }
        let rest = url[mark.upperBound...].prefix { $0 != "?" && $0 != "#" }
        let host = rest.prefix { $0 != "/" }
        let visible = host.lastIndex(of: "@").map { rest[rest.index(after: $0)...] } ?? rest
        return String(url[..<mark.upperBound] + visible)
    }

    /// A line of curl's configuration (curl(1), --config).
    private static func configuration(_ url: String) -> String {
        let escaped = url.reduce(into: "") { $0 += $1 == "\"" || $1 == "\\" ? "\\\($1)" : "\($1)" }
        return "url = \"\(escaped)\"\n"
    }

    /// Turns curl's exit into an error; its codes are those of curl(1), EXIT CODES.
    private static func check(_ outcome: Tool.Outcome, url: String) throws(MachineError) {
        if outcome.succeeded { return }
        let message = "cannot download \(url): \(outcome.complaint)"
        switch outcome.exitCode {
        case 35, 51, 58, 60, 77:
            throw MachineError(
                .tool, message,
                hint: "Check that this server speaks https, this host's clock, and its ca-certificates.")
        case 6, 7, 28:
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
