internal import Linux

/// One download with curl.
struct ImageDownload: Sendable {
    let url: String
    let progress: MachineProgress

    /// Not what ~/.curlrc says: --disable must come first. The URL is no argument, since those can be seen by all.
    private static let arguments = [
        "--disable", "--proto", "=http,https,file", "--proto-redir", "=http,https", "--fail",
        "--location", "--silent", "--show-error",
        "--connect-timeout", "\(MachineLimits.connectSeconds)",
        "--speed-limit", "1", "--speed-time", "\(MachineLimits.silenceSeconds)",
    ]

    /// The small text at the URL.
    func text() async throws(MachineError) -> String {
        let outcome = try await Tool.curl.outcome(
            of: Self.arguments + ["--max-filesize", "\(MachineLimits.toolOutput)", "--config", "-"],
            input: Self.configuration(url))
        try MachineError.checkInterruption()
        try Self.check(outcome, url: Self.shown(url))
        return outcome.output
    }

    /// Writes what the URL has to `part`, and continues what is there already.
    func write(to part: String) async throws(MachineError) {
        let headers = part + ".headers"
        try MachineFiles.remove(headers)
        let start = Int(MachineFiles.size(of: part))
        let progress = progress
        let url = url
        let shown = Self.shown(url)
        let arguments =
            Self.arguments + [
                "--continue-at", "-", "--dump-header", headers, "--output", part, "--config", "-",
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
                    let fraction = Self.fraction(
                        of: headers, size: Int(MachineFiles.size(of: part)), start: start)
                    // The sentence stays the same, so that it is one line however long it takes.
                    progress(MachineStep("Downloading \(shown)", fraction: fraction))
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

    /// How much is there of a download with these headers, of which there are `size` bytes and were `start` before it; nil when
    /// they do not tell. They may say any number.
    static func fraction(of headers: String, size: Int, start: Int) -> Double? {
        contentLength(headers).map { length in
            let total = Double(length) + Double(start)
            return total > 0 ? min(1, Double(size) / total) : 1
        }
    }

    /// The Content-Length of the last response in a file of headers; redirects come before it.
    static func contentLength(_ path: String) -> Int? {
        guard let text = try? SmallFile.text(of: path) else { return nil }
        let lines = text.split(whereSeparator: \.isNewline)
        let prefix = "content-length:"
        return lines.last { $0.lowercased().hasPrefix(prefix) }
            .flatMap { Int($0.dropFirst(prefix.count).filter { !$0.isWhitespace }) }
    }
}
