internal import AgentAPI
internal import Glibc
internal import Linux
internal import Ports
internal import Synchronization

/// The file from which programs of the guest learn where the host forwards which port. It is there as long as some host
/// tells, and has what all of them tell.
package final class SharedForwards: Sendable {
    private struct State {
        var lists: [Int: [ForwardedPort]] = [:]
        var last = 0
    }

    private let path: String
    private let log: @Sendable (String) -> Void
    private let state = Mutex(State())
    /// Whether a failure has been told. Held while the file is written, so that the newest state is written last.
    private let hasFailed = Mutex(false)

    /// A file that an agent before has left is removed.
    ///
    /// - Parameter log: gets a sentence when the file cannot be written, once.
    package init(path: String, log: @escaping @Sendable (String) -> Void = { _ in }) {
        self.path = path
        self.log = log
        unlink(path)
    }

    /// The host's place among those that tell.
    func join() -> Int {
        state.withLock { state in
            state.last += 1
            return state.last
        }
    }

    /// Returns when the file has what this host tells now; nil when it tells nothing any more.
    func set(_ forwards: [ForwardedPort]?, of host: Int) async {
        state.withLock { $0.lists[host] = forwards }
        do throws(SystemError) {
            try await DedicatedThread.run(name: "ports-file") { self.write() }
        } catch {
            log("cannot write \(path): \(error.reason)")
        }
    }

    /// Removes the file.
    package func close() {
        state.withLock { $0.lists = [:] }
        write()
    }

    private func write() {
        hasFailed.withLock { isTold in
            let lists = state.withLock { Array($0.lists.values) }
            if lists.isEmpty {
                unlink(path)
                return
            }
            do throws(SystemError) {
                try replace(with: Self.text(lists.joined()))
                isTold = false
            } catch {
                if !isTold { log("cannot write \(path): \(error.reason)") }
                isTold = true
            }
        }
    }

    static func text(_ forwards: some Sequence<ForwardedPort>) -> String {
        let rows = Set(forwards).sorted {
            ($0.guest, $0.host, $0.bind.text) < ($1.guest, $1.host, $1.bind.text)
        }.map { "{\"guest_port\":\($0.guest),\"host\":\"\($0.bind)\",\"host_port\":\($0.host)}" }
        return "{\"forwards\":[\(rows.joined(separator: ","))]}\n"
    }

    /// Writes the file, and makes its folder if there is none.
    private func replace(with text: String) throws(SystemError) {
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        // Its programs are no root's; what else is in there is for root alone.
        if mkdir(folder, 0o711) != 0, errno != EEXIST { throw SystemError.current("mkdir") }
        try WholeFile.write(text.utf8, to: path, lasts: false) { file throws(SystemError) in
            _ = try SystemError.check("fchmod", fchmod(file, 0o644))
        }
    }
}
