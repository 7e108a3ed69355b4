internal import CLinux
internal import Glibc

/// The address of a stream socket, of any family rum speaks.
package enum SocketAddress: Hashable, Sendable {
    /// `scope` is the interface index that a link-local IPv6 address needs, else 0. Port 0 asks for any.
    case tcp(IPAddress, port: UInt16, scope: UInt32 = 0)
    /// A path in the file system, at most `longestUnixPath` bytes.
    case unix(path: String)
    case vsock(cid: UInt32, port: UInt32)

    /// What sun_path takes, without the zero behind it (unix(7)).
    package static let longestUnixPath = 107

    /// sa_family_t: AF_INET, AF_INET6, AF_UNIX or AF_VSOCK.
    package var family: Int32 {
        switch self {
        case .tcp(.v4, _, _): AF_INET
        case .tcp(.v6, _, _): AF_INET6
        case .unix: AF_UNIX
        case .vsock: AF_VSOCK
        }
    }

    /// Binds a socket to the address (bind(2)).
    package func bind(_ fd: Int32) throws(SystemError) {
        _ = try SystemError.check("bind", try withSockaddr { Glibc.bind(fd, $0, $1) })
    }

    /// Connects a socket to the address (connect(2)); a non-blocking one throws EINPROGRESS.
    package func connect(_ fd: Int32) throws(SystemError) {
        _ = try SystemError.check("connect", try withSockaddr { Glibc.connect(fd, $0, $1) })
    }

    /// Calls `body` with the kernel's form of the address. Not for other modules: which C module such a type belongs to
    /// depends on how the package is built.
    ///
    /// - Throws: ENAMETOOLONG for a unix path that does not fit sun_path, EINVAL for one with a NUL byte.
    func withSockaddr<Result>(
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) throws(SystemError) -> Result {
        switch self {
        case .tcp(.v4(let bits), let port, _):
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = bits.bigEndian
            return Self.call(&address, body)
        case .tcp(let ip, let port, let scope):
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            address.sin6_scope_id = scope
            withUnsafeMutableBytes(of: &address.sin6_addr) { ip.store(to: $0) }
            return Self.call(&address, body)
        case .unix(let path):
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            let bytes = Array(path.utf8)
            guard !bytes.contains(0) else { throw SystemError(code: EINVAL, operation: "unix socket path") }
            guard bytes.count <= Self.longestUnixPath else {
                throw SystemError(code: ENAMETOOLONG, operation: "unix socket path")
            }
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
            return Self.call(&address, body)
        case .vsock(let cid, let port):
            var address = sockaddr_vm()
            address.svm_family = sa_family_t(AF_VSOCK)
            address.svm_cid = cid
            address.svm_port = port
            return Self.call(&address, body)
        }
    }

    /// Reads the kernel's form; nil for a family rum does not speak.
    init?(_ storage: borrowing sockaddr_storage) {
        var copy = copy storage
        let family = Int32(copy.ss_family)
        let parsed: SocketAddress? = withUnsafeBytes(of: &copy) { bytes in
            switch family {
            case AF_INET:
                let address = bytes.loadUnaligned(as: sockaddr_in.self)
                let ip = withUnsafeBytes(of: address.sin_addr) { IPAddress(v4At: $0) }
                return .tcp(ip, port: UInt16(bigEndian: address.sin_port))
            case AF_INET6:
                let address = bytes.loadUnaligned(as: sockaddr_in6.self)
                let ip = withUnsafeBytes(of: address.sin6_addr) { IPAddress(v6At: $0) }
                return .tcp(ip, port: UInt16(bigEndian: address.sin6_port), scope: address.sin6_scope_id)
            case AF_UNIX:
                let address = bytes.loadUnaligned(as: sockaddr_un.self)
                let path = withUnsafeBytes(of: address.sun_path) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                return .unix(path: path)
            case AF_VSOCK:
                let address = bytes.loadUnaligned(as: sockaddr_vm.self)
                return .vsock(cid: address.svm_cid, port: address.svm_port)
            default:
                return nil
            }
        }
        guard let parsed else { return nil }
        self = parsed
    }

    private static func call<Address, Result>(
        _ address: inout Address, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        let size = socklen_t(MemoryLayout<Address>.size)
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, size) }
        }
    }
}

extension SocketAddress: CustomStringConvertible {
    package var description: String {
        switch self {
        case .tcp(let ip, let port, let scope):
            if ip.isV6 { "[\(ip)\(scope == 0 ? "" : "%\(scope)")]:\(port)" } else { "\(ip):\(port)" }
        case .unix(let path): "unix:\(path)"
        case .vsock(let cid, let port): "vsock:\(cid):\(port)"
        }
    }
}
