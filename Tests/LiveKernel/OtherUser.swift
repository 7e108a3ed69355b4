internal import CLiveKernel
internal import Linux

/// Somebody else on this host: a user without any privilege.
package enum OtherUser {
    /// A uid and gid that nobody has.
    package static let id: UInt32 = 64_242

    /// Runs `body` as that user, in `namespace` or the test's own, on a thread of its own that ends with it. Needs root.
    package static func run<Result: Sendable & ~Copyable>(
        as user: UInt32 = id, in namespace: NetworkNamespace? = nil,
        _ body: @escaping @Sendable () throws -> sending Result
    ) async throws -> Result {
        try await NetworkNamespace.onNewThread {
            try namespace?.enter()
            _ = try SystemError.check("setresuid", clivekernel_become_user(user))
            return try body()
        }
    }
}
