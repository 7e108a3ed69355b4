internal import Foundation
package import Testing

/// How many times longer things may take than in a build without a sanitizer (scripts/test-sanitized).
private let slowdown = ProcessInfo.processInfo.environment["RUM_TEST_SANITIZER"] == nil ? 1 : 5

/// Waits for what another thread, another process or the kernel makes true, and fails the test when it does not come.
///
/// - Parameters:
///   - what: names what is waited for.
///   - limit: how long at the most. Generous, since it is only spent when the test fails.
package func eventually(
    _ what: @autoclosure () -> String = "the condition", within limit: Duration = .seconds(20),
    sourceLocation: SourceLocation = #_sourceLocation, _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit * slowdown
    while !(try await condition()) {
        guard ContinuousClock.now < deadline else {
            throw NeverHappened(what: what(), sourceLocation: sourceLocation)
        }
        try await Task.sleep(for: .milliseconds(1))
    }
}

/// Something was waited for in vain.
package struct NeverHappened: Error, CustomStringConvertible {
    package let what: String
    package let sourceLocation: SourceLocation?

    package init(what: String, sourceLocation: SourceLocation? = nil) {
        self.what = what
        self.sourceLocation = sourceLocation
    }

    package var description: String {
        "never happened: \(what)" + (sourceLocation.map { " (\($0))" } ?? "")
    }
}

extension Tag {
    /// A test with limits so short, or figures so close, that a busy machine can break them. Such a test may run a
    /// second time, and scripts/test then prints `flaky:`; no other test may.
    @Tag package static var timed: Self
}
