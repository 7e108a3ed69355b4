package import HostForward
internal import Linux
internal import Names
internal import PortForward
package import Relay
internal import Synchronization

/// Lets clients reach a machine's ports by name: `http://5173.dev.localhost:7000/`.
///
/// All processes of a user that forward a machine share the router's ports. The first one has them, and gives the sockets
/// of clients for another's machine to that one; when it ends, another takes over:
///
///     has the lock ──▶ leads: binds the ports, accepts, serves router.sock to the others
///     has it not   ──▶ follows: gets the clients for its machine over router.sock, until the leader ends
///
/// A client's bytes are looked at and stay in its socket; then the relay has it as if it had come to a host port. The lock
/// decides and not the ports, so that a port that is busy is one process's affair.
package final class NameRouter: Sendable {
    package let machine: String
    let folder: String
    let settings: RouterPorts
    let engine: RelayEngine
    let directory: RouterDirectory
    let mustEnd = Atomic(false)
    private let waker = Mutex<Waker?>(nil)
    private let tell: @Sendable (RouterNews) -> Void

    /// - Parameters:
    ///   - folder: where the lock and the socket are that the processes of this user share; only the user may change it.
    ///   - engine: the one that `routes` leads to; it is not shut down here.
    ///   - tell: gets what has become of the names, each thing once until it changes.
    package init(
        machine: String, folder: String, ports: RouterPorts, routes: ForwardRoutes, engine: RelayEngine,
        tell: @escaping @Sendable (RouterNews) -> Void
    ) {
        self.machine = machine
        self.folder = folder
        self.engine = engine
        self.tell = tell
        settings = ports
        directory = RouterDirectory(machine: machine, routes: routes)
    }

    /// The port by which the machine's names lead here now; nil when they do not.
    package var port: UInt16? { directory.ports.first }

    /// Where the machine's guest ports are reached by name now; empty while names lead nowhere.
    package var urls: [UInt16: String] {
        guard let port else { return [:] }
        let urls = directory.services.map { ($0.port, $0.url(machine: machine, router: port)) }
        return Dictionary(urls) { first, _ in first }
    }

    /// Runs until the task is cancelled; by then nothing listens any more. Trouble is told, and ends nothing.
    package func run() async {
        guard !settings.ports.isEmpty else { return await Task.untilCancelled() }
        let news = AsyncStream<RouterNews>.makeStream()
        let over = AsyncStream<Void>.makeStream()
        do throws(SystemError) {
            try DedicatedThread.start(name: "names") {
                RouterThread(self) { news.continuation.yield($0) }.run()
                over.continuation.finish()
            }
        } catch {
            tell(.failed(error))
            return await Task.untilCancelled()
        }
        await withTaskCancellationHandler {
            for await item in news.stream { tell(await withHolder(item)) }
        } onCancel: {
            mustEnd.store(true, ordering: .releasing)
            waker.withLock { $0 }?.wake()
        }
        // In a task of its own, since this one is cancelled.
        await Task { for await _ in over.stream {} }.value
    }

    private func withHolder(_ news: RouterNews) async -> RouterNews {
        guard case .blocked(let port, let error, nil) = news, error.isAddressInUse else { return news }
        let address = HostAddress(address: .loopbackV4, port: port)
        return .blocked(port, error, holder: await PortHolderScan().holders(of: [address])[address])
    }

    /// Has cancellation wake the thread from now on.
    func setWaker(_ new: Waker) { waker.withLock { $0 = new } }
}
