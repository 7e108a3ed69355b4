import Glibc
import Linux
import Relay
import TestSupport
import Testing

/// One row of the relay table: a rig, a body, and then every descriptor is back.
///
/// Rows run in a process of their own (an exit test), so the descriptors counted are the row's alone.
enum RelayRow {
    static func run(
        _ tunnel: Tunnel, options: RelayOptions = RelayOptions(), _ body: (RelayRig) async throws -> Void
    ) async throws {
        signal(SIGPIPE, SIG_IGN)
        var options = options
        // The rows look for what is left over.
        options.spareTime = .milliseconds(50)
        let before = openDescriptors()
        do {
            let rig = try RelayRig(tunnel, hostOptions: options, guestOptions: options)
            let idle = openDescriptors()
            try await body(rig)
            try await eventually("left over: \(openDescriptors().subtracting(idle))") {
                openDescriptors().isSubset(of: idle) && rig.host.activeConnections == 0
                    && rig.guest.activeConnections == 0
            }
            await rig.end()
        }
        // The loops' threads let go of the last ones after they have said that they are done.
        try await eventually("left over: \(openDescriptors().subtracting(before))") {
            openDescriptors().isSubset(of: before)
        }
    }

    /// The sockets, pipes, epoll and event descriptors of this process. Files and timers belong to the test
    /// library and the Swift runtime; the relay has none.
    static func openDescriptors() -> Set<String> {
        guard let directory = opendir("/proc/self/fd") else { return [] }
        defer { closedir(directory) }
        var result: Set<String> = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            var target = [CChar](repeating: 0, count: 64)
            let count = readlink("/proc/self/fd/\(name)", &target, target.count)
            guard count > 0 else { continue }
            let text = String(decoding: target[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
            if text.contains(":["), !text.contains("timerfd") { result.insert("\(name) \(text)") }
        }
        return result
    }
}
