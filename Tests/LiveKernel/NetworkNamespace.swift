internal import CLiveKernel
internal import Glibc
package import Linux

/// A fresh network namespace with its loopback interface up; it goes when the last socket in it is closed.
///
/// Threads enter it one at a time; a socket stays in the namespace it was made in, whoever uses it later.
package final class NetworkNamespace: Sendable {
    private let descriptor: OwnedDescriptor

    /// Needs CAP_SYS_ADMIN: run the tests as root, or under `unshare -Urn`.
    package init() async throws {
        descriptor = try await Self.onNewThread {
            _ = try SystemError.check("unshare(CLONE_NEWNET)", clivekernel_new_network())
            let file = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
            return OwnedDescriptor(owning: try SystemError.check("open", file))
        }
    }

    /// Moves the calling thread into the namespace, for the rest of its life.
    package func enter() throws(SystemError) {
        _ = try SystemError.check("setns", clivekernel_enter_network(descriptor.rawValue))
    }

    /// Runs `body` in the namespace, on a thread of its own that ends with it.
    package func run<Result: Sendable & ~Copyable>(
        _ body: @escaping @Sendable () throws -> sending Result
    ) async throws -> Result {
        try await Self.onNewThread { [self] in
            try enter()
            return try body()
        }
    }

    /// Runs a shell command line in the namespace; throws when it fails.
    package func shell(_ line: String) async throws {
        try await run {
            let status = system(line)
            guard status == 0 else { throw SystemError(code: EINVAL, operation: "\(line): status \(status)") }
        }
    }

    static func onNewThread<Result: Sendable & ~Copyable>(
        _ body: @escaping @Sendable () throws -> sending Result
    ) async throws -> Result {
        let box = ResultBox<Result>()
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            do {
                try DedicatedThread.start(name: "test-netns") {
                    do {
                        box.put(try body())
                        continuation.resume()
                    } catch {
                        continuation.resume(throwing: error)
                    }
                }
            } catch {
                continuation.resume(throwing: error)
            }
        }
        return try box.take()
    }
}
