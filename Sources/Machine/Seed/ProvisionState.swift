/// How the scripts of rum.toml are doing in a guest since its boot, as `provision-report state` of the seed prints it.
package struct ProvisionState: Hashable, Sendable {
    package enum Progress: String, Sendable {
        case waiting, running, failed, succeeded
    }

    package let progress: Progress
    /// `system` or `boot`: the script that runs or was run last; nil when there was none.
    package let script: String?
    /// The exit code of the script that failed.
    package let code: Int
    package let seconds: Int

    /// Reads the line; nil for anything else, since a guest may say what it likes.
    package init?(line: String) {
        let fields = line.split(whereSeparator: \.isWhitespace)
        guard fields.count == 4, let progress = Progress(rawValue: String(fields[0])),
            ["-", "system", "boot"].contains(fields[1]), let code = UInt8(fields[2]),
            let seconds = UInt32(fields[3])
        else { return nil }
        self.progress = progress
        script = fields[1] == "-" ? nil : String(fields[1])
        self.code = Int(code)
        self.seconds = Int(seconds)
    }

    /// Whether the scripts have ended, in whichever way.
    package var isOver: Bool { progress == .failed || progress == .succeeded }

    /// Completes "Provisioning ".
    package var text: String {
        let name = script.map { "the \($0) script" } ?? "a script"
        return switch progress {
        case .waiting: "waits for the guest's boot, its user and its network"
        case .running: "runs \(name), for \(seconds) s"
        case .failed: "failed: \(name) ended with exit code \(code) after \(seconds) s"
        case .succeeded: "succeeded after \(seconds) s"
        }
    }
}

/// The program in the guest that tells about its provisioning.
package enum ProvisionReport {
    private static let program = "/var/lib/rum/provision-report"

    /// Prints one line for `ProvisionState`, and ends.
    package static let state = [program, "state"]
    /// Prints what the scripts say until they have ended.
    package static let follow = [program, "follow"]
}
