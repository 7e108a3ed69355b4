internal import Glibc
internal import Linux
internal import Synchronization

/// Carries one value, copyable or not, from the thread that made it to the one that waits for it.
final class ResultBox<Value: Sendable & ~Copyable>: Sendable {
    private let value = Mutex<Value?>(nil)

    func put(_ new: consuming Value) {
        var new: Value? = consume new
        value.withLock { place in
            place = new.take()
        }
    }

    func take() throws(SystemError) -> Value {
        let taken = value.withLock { $0.take() }
        guard let taken else { throw SystemError(code: ENODATA, operation: "result of a thread") }
        return taken
    }
}
