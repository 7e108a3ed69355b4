import CLinux
import Glibc
import Testing

@testable import Linux

@Suite("Threads for work that blocks")
struct DedicatedThreadTests {
    @Test("What is closed while duplicates are held is closed for good afterwards")
    func closing() {
        var ends: [Int32] = [-1, -1]
        #expect(clinux_pipe(&ends) == 0)
        var reader = pollfd(fd: ends[0], events: 0, revents: 0)
        DedicatedThread.closing([ends[1]]) {
            close(ends[1])
            #expect(poll(&reader, 1, 0) == 0, "the file is still open")
        }
        #expect(poll(&reader, 1, 10_000) == 1)
        #expect(reader.revents & Int16(POLLHUP) != 0)
        close(ends[0])
    }
}
