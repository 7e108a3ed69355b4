internal import AgentAPI
@preconcurrency internal import Dispatch
internal import Linux
internal import Ports
internal import ProcNet
internal import SockDiag

/// Finds out what this guest knows about one TCP port, in every network namespace that a process lives in.
///
/// The work reads much of /proc, so it is bounded in time, and one question is worked on at a time, on a thread of its
/// own.
final class PortExplainer: Sendable {
    struct Limits: Sendable {
        /// For one question. What was not looked at by then is told as missing.
        var time = Duration.seconds(2)
        var namespaces = 256
        var listeners = 256

        init() {}
    }

    private let limits: Limits
    private let queue = DispatchQueue(label: "explain-port")

    init(limits: Limits = Limits()) { self.limits = limits }

    /// Answers on a thread of its own.
    func explanation(of port: PortNumber) async -> PortExplanation {
        await withCheckedContinuation { continuation in
            queue.async { [self] in continuation.resume(returning: explain(port)) }
        }
    }

    /// Answers for the network namespace of the calling thread and all others; takes as long as it takes, up to the
    /// limit.
    func explain(_ port: PortNumber) -> PortExplanation {
        var search = PortSearch(port: port, limits: limits)
        search.run()
        return search.explanation
    }
}

/// One question's work.
private struct PortSearch {
    private struct Found {
        var listener: PortExplanation.Listener
        var inode: UInt64
    }

    let port: PortNumber
    let limits: PortExplainer.Limits
    private let deadline: MonotonicTime
    private let holders = SocketHolders()
    private var found: [Found] = []
    private var missing: [String] = []

    init(port: PortNumber, limits: PortExplainer.Limits) {
        self.port = port
        self.limits = limits
        deadline = .now + limits.time
    }

    var explanation: PortExplanation {
        PortExplanation(
            listeners: found.map(\.listener),
            incomplete: missing.isEmpty ? nil : missing.joined(separator: "; "))
    }

    private var isLate: Bool { .now > deadline }

    mutating func run() {
        addOwn()
        let namespaces = otherNamespaces()
        for (namespace, processes) in namespaces.sorted(by: { $0.key < $1.key }) {
            addForeign(namespace, processes)
        }
        if found.count > limits.listeners {
            missing.append("more than \(limits.listeners) sockets listen on it")
            found.removeLast(found.count - limits.listeners)
        }
        nameProcesses(namespaces)
    }

    /// What listens where the agent can connect.
    private mutating func addOwn() {
        do throws(SockDiagError) {
            found += try QueuedListener.all(on: port).map { row in
                let queue = PortExplanation.AcceptQueue(waiting: row.waiting, limit: row.limit)
                return Found(
                    listener: .init(socket: row.observed.socket, queue: queue), inode: row.observed.inode)
            }
        } catch {
            // Without sock_diag the queues stay unknown, but not the sockets.
            for row in rows(of: "thread-self") ?? [] {
                found.append(Found(listener: .init(socket: row.socket), inode: row.inode))
            }
        }
        found.sort { $0.listener.socket.key < $1.listener.socket.key }
    }

    /// What listens in another namespace, as one of its processes shows it.
    private mutating func addForeign(_ namespace: UInt64, _ processes: [Int32]) {
        if isLate { return tellLate() }
        // Of several, since each may end meanwhile.
        for process in processes.prefix(4) {
            guard let rows = rows(of: "\(process)") else { continue }
            found += rows.map {
                Found(listener: .init(socket: $0.socket, networkNamespace: namespace), inode: $0.inode)
            }
            return
        }
    }

    private func rows(of process: String) -> [ObservedListener]? {
        guard let range = PortRange(port, port) else { return nil }
        return try? ProcNetReader(root: "/proc/\(process)").listeners(in: range)
    }

    /// The processes of each other network namespace.
    private mutating func otherNamespaces() -> [UInt64: [Int32]] {
        let own = try? NetworkNamespaceNumber.of("thread-self")
        var result: [UInt64: [Int32]] = [:]
        for pid in holders.processes() {
            if isLate {
                tellLate()
                break
            }
            // A kernel thread, another user's process or one that has ended can't be read.
            guard let namespace = try? NetworkNamespaceNumber.of("\(pid)"), namespace != own else { continue }
            if result[namespace] == nil, result.count == limits.namespaces {
                missing = ["there are more than \(limits.namespaces) network namespaces"]
                continue
            }
            result[namespace, default: []].append(pid)
        }
        return result
    }

    /// Finds the processes that hold the sockets, those of the same namespace first.
    private mutating func nameProcesses(_ namespaces: [UInt64: [Int32]]) {
        var wanted = Set(found.map(\.inode))
        wanted.remove(0)
        guard !wanted.isEmpty else { return }
        let foreign = Set(found.compactMap(\.listener.networkNamespace))
        let likely = foreign.flatMap { namespaces[$0] ?? [] }
        let others = Set(likely)
        for pid in likely + holders.processes().filter({ !others.contains($0) }) where !wanted.isEmpty {
            // The sockets are known all the same; only who holds them is not.
            if isLate { return }
            for (inode, descriptor) in holders.sockets(of: pid) where wanted.contains(inode) {
                guard let holder = holders.confirmed(pid: pid, descriptor: descriptor) else { continue }
                wanted.remove(inode)
                attribute(inode, to: holder.process)
                if wanted.isEmpty { break }
            }
        }
    }

    private mutating func attribute(_ inode: UInt64, to process: ListeningProcess) {
        let groups = (try? SmallFile.text(of: "/proc/\(process.pid)/cgroup")) ?? ""
        for index in found.indices where found[index].inode == inode {
            found[index].listener.socket.process = process
            found[index].listener.container = PortExplanation.Container(controlGroups: groups)
        }
    }

    private mutating func tellLate() {
        if missing.isEmpty { missing = ["the guest has too many processes to look at in \(limits.time)"] }
    }
}
