import AgentChannel
import Glibc
import Linux
import Ports
import Relay
import TestSupport
import Testing

/// How the host's relay reaches the guest's, and in which version of the protocol.
enum Tunnel: String, CaseIterable, Codable, CustomTestStringConvertible {
    case unix, tcp, hybrid
    /// Version 2, whose tunnels carry one connection each.
    case recordsUnix
    /// Version 1.
    case rawUnix, rawTCP

    var testDescription: String { rawValue }

    var version: ForwardVersion {
        switch self {
        case .unix, .tcp, .hybrid: .newest
        case .recordsUnix: .records
        case .rawUnix, .rawTCP: .raw
        }
    }

    /// Whether a reset can be told from an end after the other side has ended.
    var tellsEveryReset: Bool { self != .rawUnix }
}

/// A client, two relays and a server: client -> host relay -> tunnel -> guest relay -> server.
final class RelayRig {
    static let token = MachineToken.random()

    let host: RelayEngine
    let guest: RelayEngine
    let hostListener: RelayListener
    let guestListener: RelayListener
    let server: Peer
    private let folder: TestFolder
    private let monitor: HybridMonitor?

    init(
        _ tunnel: Tunnel, hostOptions: RelayOptions = RelayOptions(),
        guestOptions: RelayOptions = RelayOptions(),
        token: MachineToken = RelayRig.token, targets: [SocketAddress]? = nil, hold: RelayHold? = nil,
        greeting: [UInt8] = [],
        log: @escaping @Sendable (String) -> Void = { _ in }
    ) throws {
        folder = try TestFolder()
        server = Peer(try StreamSocket.listen(on: .tcp(.loopbackV4, port: 0)))
        let target = try StreamSocket.localAddress(server.fd)
        host = try RelayEngine(options: hostOptions, log: log)
        guest = try RelayEngine(options: guestOptions, log: log)
        let answers = targets ?? [target]
        let role = RelayRole(tunnel: .accepted) { GuestHandshake(token: Self.token) { _ in answers } }
        let agent: AgentAddress
        switch tunnel {
        case .unix, .recordsUnix, .rawUnix, .hybrid:
            let address = AgentAddress.unix(directory: folder.path).socketAddress(for: .forward)
            guestListener = try guest.listen(on: StreamSocket.listen(on: address), role: role)
            if tunnel == .hybrid {
                let path = folder.path + "/v.sock"
                monitor = try HybridMonitor(path: path, agent: address)
                agent = .hybrid(path: path)
            } else {
                monitor = nil
                agent = .unix(directory: folder.path)
            }
        case .tcp, .rawTCP:
            monitor = nil
            guestListener = try guest.listen(
                on: StreamSocket.listen(on: .tcp(.loopbackV4, port: 0)), role: role)
            guard case .tcp(let ip, let port, _) = guestListener.address else { throw RigError.noPort }
            agent = .tcp(ip, port: port - 1)
        }
        let preamble = ForwardPreamble(
            token: token, port: try #require(PortNumber(5001)), version: tunnel.version,
            waitsForAnswer: hold != nil)
        var clients = RelayRole(tunnel: .dialled) {
            HostHandshake(
                opening: AgentOpening(to: .forward, of: agent), preamble: preamble, greeting: greeting)
        }
        clients.hold = hold
        hostListener = try host.listen(
            on: StreamSocket.listen(on: .tcp(.loopbackV4, port: 0)), role: clients)
    }

    func end() async {
        await host.shutdown()
        await guest.shutdown()
        monitor?.stop()
    }

    func connect() throws -> Peer {
        let peer = Peer(try StreamSocket.connect(to: hostListener.address))
        try peer.wait(POLLOUT)
        return peer
    }

    /// A client and the server's end of its connection.
    func pair() throws -> (client: Peer, server: Peer) {
        let client = try connect()
        return (client, try server.accept())
    }
}

enum RigError: Error {
    case noPort
    case timedOut(String)
}

/// A plain non-blocking socket with calls that wait up to a deadline.
final class Peer: Sendable {
    private let descriptor: OwnedDescriptor
    var fd: Int32 { descriptor.rawValue }

    init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }

    func wait(_ events: Int32, milliseconds: Int32 = 10_000) throws {
        var entry = pollfd(fd: fd, events: Int16(events), revents: 0)
        guard poll(&entry, 1, milliseconds) == 1 else { throw RigError.timedOut("poll \(events)") }
    }

    func accept() throws -> Peer {
        try wait(POLLIN)
        return try acceptNow()
    }

    func acceptNow() throws -> Peer {
        let new = try SystemError.check("accept", Glibc.accept(fd, nil, nil))
        _ = fcntl(new, F_SETFL, O_NONBLOCK)
        return Peer(OwnedDescriptor(owning: new))
    }

    func write(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0 {
                let error = SystemError.current("send")
                guard error.code == EAGAIN else { throw error }
                try wait(POLLOUT)
            } else {
                sent += count
            }
        }
    }

    /// Writes what the socket takes now; the number of bytes, 0 when it takes none.
    func writeNow(_ bytes: ArraySlice<UInt8>) throws -> Int {
        let count = bytes.withUnsafeBytes { send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        if count >= 0 { return count }
        let error = SystemError.current("send")
        guard error.code == EAGAIN else { throw error }
        return 0
    }

    /// What can be read now; empty at the end of file.
    ///
    /// - Throws: EAGAIN when there is nothing.
    func readNow() throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        return Array(bytes[..<(try SystemError.check("recv", recv(fd, &bytes, bytes.count, 0)))])
    }

    /// Sends one byte as urgent data (MSG_OOB, tcp(7)).
    func writeUrgent(_ byte: UInt8) throws {
        var byte = byte
        while send(fd, &byte, 1, Int32(MSG_OOB) | Int32(MSG_NOSIGNAL)) != 1 {
            guard errno == EAGAIN else { throw SystemError.current("send") }
            try wait(POLLOUT)
        }
    }

    /// Writes until the socket takes no more; the bytes that it took.
    func fill(_ byte: UInt8 = 1, settle: Int32 = 200) throws -> Int {
        let chunk = [UInt8](repeating: byte, count: 64 << 10)
        var total = 0
        while true {
            let count = chunk.withUnsafeBytes { send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count < 0 {
                let error = SystemError.current("send")
                guard error.code == EAGAIN else { throw error }
                do { try wait(POLLOUT, milliseconds: settle) } catch { return total }
            } else {
                total += count
            }
        }
    }

    /// Up to `limit` bytes as they come; empty at the end of file.
    func readSome(_ limit: Int = 64 << 10) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: limit)
        while true {
            let count = recv(fd, &bytes, limit, 0)
            if count >= 0 { return Array(bytes[..<count]) }
            let error = SystemError.current("recv")
            guard error.code == EAGAIN else { throw error }
            try wait(POLLIN)
        }
    }

    func read(exactly wanted: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < wanted {
            let part = try readSome(wanted - bytes.count)
            if part.isEmpty { return bytes }
            bytes += part
        }
        return bytes
    }

    func readToEnd() throws -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let part = try readSome()
            if part.isEmpty { return bytes }
            bytes += part
        }
    }

    /// The number of bytes up to the end of file.
    func countToEnd() throws -> Int {
        var total = 0
        while true {
            let count = try readSome(1 << 20).count
            if count == 0 { return total }
            total += count
        }
    }

    /// Whether something to read comes soon.
    func isReadable() -> Bool { (try? wait(POLLIN, milliseconds: 300)) != nil }

    func shutdownWriting() { shutdown(fd, Int32(SHUT_WR)) }

    /// Makes the coming close a RST.
    func resetOnClose() {
        var now = linger(l_onoff: 1, l_linger: 0)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
    }

    /// The errno with which reading ends, 0 for an end of file; what comes before is dropped.
    func ending() throws -> Int32 {
        do {
            while try !readSome().isEmpty {}
            return 0
        } catch let error as SystemError {
            return error.code
        }
    }
}
