extension Task where Success == Never, Failure == Never {
    /// Returns when the task is cancelled, and not before.
    package static func untilCancelled() async {
        while !Task.isCancelled { try? await Task.sleep(for: .seconds(3600)) }
    }
}
