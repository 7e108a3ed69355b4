internal import Glibc
internal import Sockets
internal import Synchronization

/// Standard input as a sequence of chunks, read no faster than they are taken.
package enum StandardInput {
    /// Each element is what one read(2) gave, up to 64 KiB; the sequence ends at end of file. Read it once.
    package static func chunks() -> AsyncThrowingStream<[UInt8], any Error> {
        let reader = ChunkReader()
        return AsyncThrowingStream { try await reader.next() }
    }
}

/// Reads one chunk at a time on a thread of its own, because a read from a terminal may wait for ever.
private final class ChunkReader: Sendable {
    /// nil at end of file.
    func next() async throws(SystemError) -> [UInt8]? {
        let result: Result<[UInt8]?, SystemError> = await withCheckedContinuation { continuation in
            do throws(SystemError) {
                try DedicatedThread.start(name: "stdin") { continuation.resume(returning: Self.read()) }
            } catch {
                continuation.resume(returning: .failure(error))
            }
        }
        return try result.get()
    }

    private static func read() -> Result<[UInt8]?, SystemError> {
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = Glibc.read(STDIN_FILENO, &chunk, chunk.count)
            if count < 0 {
                let error = SystemError.current("read standard input")
                if error.code == EINTR { continue }
                if error.code == EAGAIN {
                    var ready = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
                    _ = poll(&ready, 1, -1)
                    continue
                }
                return .failure(error)
            }
            return .success(count == 0 ? nil : Array(chunk[..<count]))
        }
    }
}
