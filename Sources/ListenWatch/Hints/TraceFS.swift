internal import CLinux
internal import Linux

/// Finds a tracepoint's number and record format.
package struct TraceFS: Sendable {
    /// Directories to try, best first.
    package var mounts: [String]
    /// Make a tracefs of our own, mounted nowhere, when none of `mounts` is one.
    package var mayDetach: Bool

    package init(mounts: [String], mayDetach: Bool) {
        self.mounts = mounts
        self.mayDetach = mayDetach
    }

    /// The usual places, then a detached mount.
    package static let standard = TraceFS(
        mounts: ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"], mayDetach: true)

    /// Reads `events/NAME/id` and `format`; both are readable by root alone.
    package func event(_ name: String) throws(HintSourceLost) -> (id: UInt64, format: String) {
        for mount in mounts {
            if let found = Self.read("\(mount)/events/\(name)") { return found }
        }
        guard mayDetach else { throw HintSourceLost(description: Self.unreadable) }
        do {
            let root = OwnedDescriptor(owning: try SystemError.check("fsopen", clinux_open_tracefs()))
            if let found = Self.read("/proc/self/fd/\(root.rawValue)/events/\(name)") { return found }
        } catch {
            let cure = error.isPermission ? HintPermission.tracefs(held: Capability.effective) : nil
            throw HintSourceLost(error, doing: Self.unreadable, cure: cure)
        }
        throw HintSourceLost(description: "this kernel has no tracepoint \(name)")
    }

    private static let unreadable = "tracefs is not readable"

    private static func read(_ directory: String) -> (id: UInt64, format: String)? {
        guard let id = try? SmallFile.firstLine(of: "\(directory)/id"), let number = UInt64(id),
            let format = try? SmallFile.text(of: "\(directory)/format")
        else { return nil }
        return (number, format)
    }
}
