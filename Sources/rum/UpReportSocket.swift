import CLinux
import CommandMain
import Dispatch
import Foundation
import Glibc
import HostForward
import Linux
import Machine
import Ports
import RumConfig

/// The unix socket in the machine's folder on which a running `rum up` hands out its report, one per connection.
///
/// It also keeps a second `rum up` for the same machine away.
final class UpReportSocket: Sendable {
    private let listener: OwnedDescriptor
    /// Held until this process ends. Two that start together both find a stale socket, and each could replace the
    /// other's. While it is held, the socket's file can be nobody else's.
    private let lock: OwnedDescriptor
    private let forwards: ForwardSession
    private let address: SocketAddress

    /// Binds the socket.
    init(_ machine: VirtualMachine, forwards: ForwardSession) throws(CommandFailure) {
        let path = Self.path(of: machine)
        self.forwards = forwards
        address = .unix(path: path)
        do throws(SystemError) {
            let flags = O_RDWR | O_CREAT | O_CLOEXEC
            lock = OwnedDescriptor(owning: try SystemError.check("open", open(path + ".lock", flags, 0o600)))
            _ = try SystemError.check("flock", flock(lock.rawValue, LOCK_EX | LOCK_NB))
            listener = try ServiceSocket.listen(on: address)
        } catch {
            if error.code == EADDRINUSE || error.code == EWOULDBLOCK { throw Self.alreadyUp(machine) }
            throw CommandFailure(
                "cannot serve status on \(path): \(error.reason)",
                hint: "set RUM_HOME to a short path that you may write to")
        }
    }

    /// Throws when another `rum up` forwards this machine's ports.
    static func checkThatNobodyServes(_ machine: VirtualMachine) throws(CommandFailure) {
        if (try? StreamSocket.connect(to: .unix(path: path(of: machine)))) != nil { throw alreadyUp(machine) }
    }

    /// The report of the `rum up` that runs; nil when none does.
    static func report(of machine: VirtualMachine) async -> UpReport? {
        let path = path(of: machine)
        let data: Data? = await withCheckedContinuation { continuation in
            do throws(SystemError) {
                try DedicatedThread.start(name: "report") { continuation.resume(returning: read(path)) }
            } catch {
                continuation.resume(returning: nil)
            }
        }
        return data.flatMap { try? JSONDecoder().decode(UpReport.self, from: $0) }
    }

    /// What the socket hands out; waits for it.
    private static func read(_ path: String) -> Data? {
        guard let socket = try? StreamSocket.connect(to: .unix(path: path)) else { return nil }
        var limit = timeval(tv_sec: 2, tv_usec: 0)
        setsockopt(socket.rawValue, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        _ = clinux_set_nonblocking(socket.rawValue, 0)
        let handle = FileHandle(fileDescriptor: socket.release(), closeOnDealloc: true)
        return try? handle.readToEnd()
    }

    /// Answers until the task is cancelled; then the socket's file is gone.
    func serve() async {
        defer { ServiceSocket.remove(address) }
        let readable = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let source = DispatchSource.makeReadSource(fileDescriptor: listener.rawValue)
        source.setEventHandler { @Sendable in readable.continuation.yield() }
        source.activate()
        for await _ in readable.stream {
            while case let number = clinux_accept(listener.rawValue, nil, nil), number >= 0 {
                let client = OwnedDescriptor(owning: number)
                let report = try? JSONEncoder().encode(await UpReport(forwards))
                Self.send(report ?? Data(), to: client)
            }
        }
        source.cancel()
    }

    /// Hands the bytes to a thread: the reader may be slow, or never read.
    private static func send(_ data: Data, to client: consuming OwnedDescriptor) {
        let number = client.release()
        do throws(SystemError) {
            try DedicatedThread.start(name: "report") {
                let socket = OwnedDescriptor(owning: number)
                _ = clinux_set_nonblocking(socket.rawValue, 0)
                var limit = timeval(tv_sec: 2, tv_usec: 0)
                setsockopt(
                    socket.rawValue, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
                var rest = data[...]
                while !rest.isEmpty {
                    let sent = rest.withUnsafeBytes {
                        Glibc.send(socket.rawValue, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                    }
                    guard sent > 0 else { return }
                    rest = rest.dropFirst(sent)
                }
            }
        } catch {
            _ = OwnedDescriptor(owning: number)
        }
    }

    private static func path(of machine: VirtualMachine) -> String { machine.files.directory + "/up.sock" }

    private static func alreadyUp(_ machine: VirtualMachine) -> CommandFailure {
        CommandFailure(
            "another `rum up` already forwards the ports of \(machine.config.name)",
            hint: "use that one (`rum status` shows its forwards), or end it with Ctrl-C first")
    }
}
