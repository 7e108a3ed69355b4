import Foundation
import Glibc
import Linux
import PortForward
import Ports
import Synchronization

/// Opens the pages of ports in the user's browser, where their rules ask for it.
///
/// rum.toml asks that a page be opened, and not by which program: that is xdg-open, or what the user's own `RUM_OPENER`
/// says. The program runs in a session of its own and is not waited for by anything that forwards.
final class PageOpener: Sendable {
    /// How many may be opened: a few at once, then one now and again. The guest decides how often ports open.
    private static let atOnce: UInt64 = 5
    private static let interval = Duration.seconds(10)
    /// Programs that run at a time; a browser may stay in the foreground of the one that started it.
    private static let mostPrograms = 16

    private struct State {
        var opened: Set<PortNumber> = []
        var limit = RateLimit(atOnce: PageOpener.atOnce, interval: PageOpener.interval)
        var programs = 0
    }

    /// Words, of which `{url}`, `{host}` and `{port}` are filled in.
    private let command: [String]
    private let environment: [String: String]
    private let say: @Sendable (String) -> Void
    private let state = Mutex(State())

    /// - Parameter say: gets a sentence about each page that could not be opened.
    init(environment: [String: String], say: @escaping @Sendable (String) -> Void) {
        self.environment = environment
        self.say = say
        let words = (environment["RUM_OPENER"] ?? "").split(separator: " ").map(String.init)
        let command = words.isEmpty ? ["xdg-open"] : words
        self.command = command.contains { $0.contains("{") } ? command : command + ["{url}"]
    }

    /// Opens the page of a forward that was opened, if its rule says so; never waits.
    func take(_ event: ForwardEvent) {
        guard event.name == .opened, let forward = event.forward, let rule = event.rule,
            let times = rule.opensPage
        else { return }
        let page = PageAddress(forward, scheme: rule.scheme)
        let now = SystemClock.monotonic
        let (mayOpen, isNews) = state.withLock { state -> (Bool, Bool) in
            let isFirst = state.opened.insert(forward.guestPort).inserted
            guard isFirst || times == .always else { return (false, false) }
            guard state.programs < Self.mostPrograms, state.limit.take(at: now) else { return (false, true) }
            state.programs += 1
            return (true, false)
        }
        if isNews { say("\(page.url) is not opened: too many pages at once") }
        guard mayOpen else { return }
        do {
            try DedicatedThread.start(name: "open-page") { [self] in
                open(page)
                state.withLock { $0.programs -= 1 }
            }
        } catch {
            state.withLock { $0.programs -= 1 }
            say("\(page.url) is not opened: \(error.reason)")
        }
    }

    /// Runs the program to its end.
    private func open(_ page: PageAddress) {
        let words = command.map(page.filled)
        guard let name = words.first, let program = path(of: name) else {
            return say("\(page.url) is not opened: \(command[0]) is not installed")
        }
        do throws(SystemError) {
            let null = OwnedDescriptor(
                owning: try SystemError.check("open", Glibc.open("/dev/null", O_WRONLY | O_CLOEXEC)))
            let pid = try DetachedProcess.start(
                program, words, environment: environment, output: null.rawValue)
            var status: Int32 = 0
            while waitpid(pid, &status, 0) < 0, errno == EINTR {}
            if status != 0 { say("\(page.url) is not opened: \(name) has failed") }
        } catch {
            say("\(page.url) is not opened: \(name) cannot be run: \(error.reason)")
        }
    }

    private func path(of name: String) -> String? {
        if name.contains("/") { return name }
        let folders = (environment["PATH"] ?? "/usr/bin:/bin").split(separator: ":")
        return folders.map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
    }
}

/// Where the page of a forward is.
struct PageAddress: Hashable, Sendable {
    let host: String
    let port: PortNumber
    let url: String

    init(_ forward: WantedForward.Key, scheme: PortRule.URLScheme) {
        let address = forward.bind.addresses.first
        // A wildcard is bound, but nothing that could be gone to.
        let host =
            switch address {
            case .some(.anyV4): "\(IPAddress.loopbackV4)"
            case .some(.anyV6): "[\(IPAddress.loopbackV6)]"
            default: forward.bind.text.contains(":") ? "[\(forward.bind)]" : "\(forward.bind)"
            }
        self.host = host
        port = forward.hostPort
        url = "\(scheme.rawValue)://\(host):\(forward.hostPort)/"
    }

    /// A word of a command with the page in it.
    func filled(_ word: String) -> String {
        word.replacingOccurrences(of: "{url}", with: url).replacingOccurrences(of: "{host}", with: host)
            .replacingOccurrences(of: "{port}", with: "\(port)")
    }
}
