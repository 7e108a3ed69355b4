import Glibc
import Linux
import ListenWatch
import Ports
import ProcNet
import SockDiag

/// One way to know of listeners, as a process: it prints `+PORT TIME` and `-PORT TIME` when it learns of a change.
enum Candidate: String, CaseIterable {
    /// The watcher of this project, alone in its process.
    case rum
    /// Reads and parses /proc/net/tcp and tcp6 each second.
    case procfs
    /// Dumps LISTEN of both families each 100 ms.
    case netlink
    /// Dumps every state of both families and filters, at each bind() and each 3 s. To learn of a bind() is free
    /// here: the benchmark writes a byte into a pipe when it has returned.
    case bindHint = "bind-hint"

    var title: String {
        switch self {
        case .rum: "rum: push + sock_diag"
        case .procfs: "procfs poll, 1 s"
        case .netlink: "netlink poll, 100 ms"
        case .bindHint: "bind hint, all states, 3 s tick"
        }
    }

    /// `push` is the best level that rum may use.
    static func run(_ name: String, push: String?) async throws {
        guard let candidate = Candidate(rawValue: name) else { return }
        var known: Set<UInt16> = []
        switch candidate {
        case .rum:
            var options = ListenWatcherOptions()
            options.mode = .netlink
            options.push = push.flatMap(PushLevel.init) ?? options.push
            // The namespace is this process's own.
            let watcher = ListenWatcher(options: options)
            try await watcher.start()
            await watcher.settled()
            say("ready \(watcher.source.push.rawValue)")
            for await table in watcher.tables() { report(Set(table.ports.map(\.rawValue)), &known) }
        case .procfs:
            say("ready")
            let reader = ProcNetReader()
            while true {
                report(Set(try reader.listeners().map(\.socket.port.rawValue)), &known)
                usleep(1_000_000)
            }
        case .netlink:
            say("ready")
            let dumper = try PlainDumper()
            while true {
                report(try dumper.ports(states: 1 << 10), &known)
                usleep(100_000)
            }
        case .bindHint:
            say("ready")
            let dumper = try PlainDumper()
            var input = pollfd(fd: try HintPipe.openReader(), events: Int16(POLLIN), revents: 0)
            var byte: UInt8 = 0
            while true {
                if poll(&input, 1, 3000) > 0 { _ = read(input.fd, &byte, 1) }
                report(try dumper.ports(states: 0xfff), &known)
            }
        }
    }

    static func report(_ ports: Set<UInt16>, _ known: inout Set<UInt16>) {
        guard ports != known else { return }
        let now = Measure.now
        var text = ""
        for port in ports.subtracting(known) { text += "+\(port) \(now)\n" }
        for port in known.subtracting(ports) { text += "-\(port) \(now)\n" }
        known = ports
        write(text)
    }

    static func say(_ line: String) { write(line + "\n") }

    private static func write(_ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(1, $0.baseAddress, $0.count) }
            guard count > 0 else { exit(0) }
            rest = rest.dropFirst(count)
        }
    }
}

/// The pipe through which the bind-hint candidate learns of a bind().
enum HintPipe {
    static let path = "/tmp/bench-watch-hint.\(getuid())"

    static func openReader() throws -> Int32 {
        try SystemError.check("open", open(path, O_RDWR | O_CLOEXEC))
    }

    static func make() throws -> OwnedDescriptor {
        unlink(path)
        _ = try SystemError.check("mkfifo", mkfifo(path, 0o600))
        return OwnedDescriptor(
            owning: try SystemError.check("open", open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK)))
    }
}

/// The usual two version 2 dumps, one a family, of any set of states.
final class PlainDumper {
    private let socket: NetlinkSocket
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 32 << 10, alignment: 8)
    private var sequence: UInt32 = 0

    init() throws { socket = try NetlinkSocket(bus: 4) }

    deinit { buffer.deallocate() }

    /// The listening ports among the sockets of these states.
    func ports(states: UInt32) throws -> Set<UInt16> {
        var rows: [ObservedListener] = []
        for family: UInt8 in [2, 10] {
            sequence += 1
            try socket.send(Self.request(family, states, sequence))
            while true {
                let count = try socket.receive(into: buffer)
                let datagram = UnsafeRawBufferPointer(rebasing: buffer[..<count])
                if try DiagReply.decode(datagram, sequence: sequence, into: &rows) == .done { break }
            }
        }
        return Set(rows.map(\.socket.port.rawValue))
    }

    /// nlmsghdr and inet_diag_req_v2.
    private static func request(_ family: UInt8, _ states: UInt32, _ sequence: UInt32) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 72)
        bytes.withUnsafeMutableBytes {
            $0.storeBytes(of: 72, as: UInt32.self)
            $0.storeBytes(of: 20, toByteOffset: 4, as: UInt16.self)
            $0.storeBytes(of: 0x301, toByteOffset: 6, as: UInt16.self)
            $0.storeBytes(of: sequence, toByteOffset: 8, as: UInt32.self)
            $0[16] = family
            $0[17] = 6
            $0.storeBytes(of: states, toByteOffset: 20, as: UInt32.self)
        }
        return bytes
    }
}

extension ListenWatcher {
    /// Returns when no level of push is being set up.
    func settled() async {
        while source.degraded == nil, pushReason == Self.settingUp {
            try? await Task.sleep(for: .milliseconds(1))
        }
    }
}
