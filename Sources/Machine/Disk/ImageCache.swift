internal import RumConfig

/// Turns `image.base` into a file on this host, downloading it once.
struct ImageCache: Sendable {
    /// The folder of downloaded images.
    let directory: String
    let progress: MachineProgress
    /// RUM_IMAGE_MIRROR: a URL that stands for the `https://` of named images; nil for their own servers.
    var mirror: String?

    /// An image that was looked at, and is fit to start from.
    struct Base: Hashable, Sendable {
        let path: String
        let info: DiskImage.Info
        /// Whether the file may go away with the cache.
        let isCached: Bool
    }

    /// The image, checked against its digest and by its content; unpacked if it was packed.
    func resolve(_ image: MachineConfig.Image) async throws(MachineError) -> Base {
        let digest = image.sha256.flatMap { ImageDigest($0) }
        switch image.base {
        case .path(let path): return try await local(path, digest: digest)
        case .url(let url): return try await download(url, digest: digest, origin: ImageDigest.pinned)
        case .named(let named): return try await self.named(named, pinned: digest)
        }
    }

    /// A named image: what its makers' list of checksums says now. Without a network, the newest that is cached.
    private func named(_ image: NamedImage, pinned: ImageDigest?) async throws(MachineError) -> Base {
        let url = mirrored(image.url)
        if let pinned { return try await download(url, digest: pinned, origin: ImageDigest.pinned) }
        let sums = mirrored(image.sums)
        progress(MachineStep("Asking for the checksum of \(image.name)"))
        let list: String
        do throws(MachineError) {
            list = try await ImageDownload(url: sums, progress: progress).text()
        } catch {
            guard error.kind != .interrupted, let cached = newest(of: url) else { throw error }
            progress(MachineStep("\(error.message); using the \(image.name) that is cached"))
            return cached
        }
        guard let digest = ImageDigest.find(Self.file(of: url), in: list) else {
            throw MachineError(
                .image, "\(ImageDownload.shown(sums)) has no checksum of \(Self.file(of: url))",
                hint: "Its makers may have moved it: give the URL of an image in image.base.")
        }
        return try await download(url, digest: digest, origin: "the \(digest.name) its makers publish")
    }

    private func mirrored(_ url: String) -> String {
        guard let mirror, url.hasPrefix("https://") else { return url }
        return (mirror.hasSuffix("/") ? mirror : mirror + "/") + url.dropFirst("https://".count)
    }

    /// The image of `url` that was downloaded last, of whichever digest.
    private func newest(of url: String) -> Base? {
        let files = CachedImage.all(in: directory).filter { $0.isImage && $0.isOf(Self.file(of: url)) }
        guard let path = files.max(by: { $0.modified < $1.modified })?.path else { return nil }
        return (try? DiskImage.info(path)).map { Base(path: path, info: $0, isCached: true) }
    }

    private func local(_ path: String, digest: ImageDigest?) async throws(MachineError) -> Base {
        let file = try ImageFile(path)
        if let digest {
            progress(MachineStep("Checking the image's \(digest.name)"))
            try await digest.check(path, source: path, origin: ImageDigest.pinned)
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
        let file = try ImageFile(path)
        guard case .packed(let packing) = file.content else { return }
        let limit = MachineLimits.unpackedSize(of: file.size)
        progress(MachineStep("Unpacking \(path) with \(packing.tool.name)"))
        do throws(MachineError) {
            try await packing.tool.write(output: ["-dc", "--", path], to: target, atMost: limit)
        } catch {
            let size = MachineFiles.size(of: target)
            try MachineFiles.remove(target)
            if size >= limit {
                throw ImageFault(
                    "unpacks to more than \(ByteSize(bytes: limit)), the most for \(file.size) packed bytes",
                    hint: "If it is right so, unpack it by hand, and name the disk image that comes out."
                ).error(path)
            }
            guard error.kind == .tool else { throw error }
            throw ImageFault("cannot be unpacked: \(error.message)", hint: "Fetch it again.").error(path)
        }
    }

    /// Where the image of `url` is cached. With a digest the name follows the content, so that a new digest
    /// means a new download.
    func location(of url: String, digest: ImageDigest?) -> String {
        "\(directory)/\(digest?.prefix ?? Fingerprint.of(url))-\(Self.file(of: url))"
    }

    /// The name of the file that `url` ends with, in plain letters.
    private static func file(of url: String) -> String {
        let last = url.split(separator: "/").last.map(String.init) ?? "image"
        return String(
            last.prefix { $0 != "?" && $0 != "#" }.filter {
                $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0))
            }.suffix(80))
    }

    private func download(
        _ url: String, digest: ImageDigest?, origin: String
    ) async throws(MachineError) -> Base {
        let path = location(of: url, digest: digest)
        return try await once(path, waitingFor: ImageDownload.shown(url)) { () async throws(MachineError) in
            let part = path + ".part"
            try await fetch(url, to: part, digest: digest, origin: origin)
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
    private func fetch(
        _ url: String, to part: String, digest: ImageDigest?, origin: String
    ) async throws(MachineError) {
        let resumes = digest != nil && MachineFiles.exists(part)
        if !resumes { try MachineFiles.remove(part) }
        do {
            try await ImageDownload(url: url, progress: progress).write(to: part)
            guard let digest else { return }
            progress(MachineStep("Checking the image's \(digest.name)"))
            try await digest.check(part, source: ImageDownload.shown(url), origin: origin)
        } catch let error where error.kind == .image && resumes {
            try MachineFiles.remove(part)
            try await fetch(url, to: part, digest: digest, origin: origin)
        } catch {
            // Only an interrupted transfer is worth keeping.
            if error.kind == .image { try MachineFiles.remove(part) }
            throw error
        }
    }
}
