internal import Glibc
internal import Linux
package import Ports
internal import Synchronization

/// Host ports that a test lets go of before it, or a program that it starts, binds them.
package enum FreePort {
    /// Outside the range of which the kernel gives a socket without a wish its port (ip(7), ip_local_port_range): what is free
    /// now stays free, and no client that connects there gets that port as its own, so that it would be connected with itself.
    /// Tests that choose their ports by number choose others.
    private static let range: Range<UInt16> = 12_000..<18_000
    /// Elsewhere in each process, since several may test at a time.
    private static let position = Mutex(Int(getpid()) * 37)

    /// A port that nobody has on either loopback address, another one each time.
    package static func next() throws -> PortNumber {
        for _ in range {
            let number = position.withLock { position in
                position += 1
                return range.lowerBound + UInt16(position % range.count)
            }
            if isFree(.loopbackV4, number), isFree(.loopbackV6, number) { return port(number) }
        }
        throw NeverHappened(what: "a free port")
    }

    private static func isFree(_ address: IPAddress, _ number: UInt16) -> Bool {
        (try? StreamSocket.listen(on: .tcp(address, port: number))) != nil
    }
}
