package import Ports

/// The versions of the forward protocol. Host and agent use the highest that both know; the agent tells its own in `Ping`.
package enum ForwardVersion: UInt8, Sendable, Comparable, CaseIterable {
    /// Raw bytes behind the status; ends are the tunnel socket's.
    case raw = 1
    /// Records behind the status, the last of which says that a direction has ended in order.
    case records = 2
    /// Tunnels as before, and a connection may ask for the agent's tables: `TablePreamble`.
    case tables = 3
    /// As before, and a tunnel may carry one connection after another.
    case kept = 4

    /// The highest that this build speaks.
    package static let newest = ForwardVersion.kept

    /// The highest that both speak, where the other end tells its own as a number; 0 is one that tells none.
    package init(spokenWith other: UInt32) {
        self = UInt8(exactly: min(other, UInt32(Self.newest.rawValue))).flatMap(Self.init) ?? .raw
    }

    package static func < (left: ForwardVersion, right: ForwardVersion) -> Bool {
        left.rawValue < right.rawValue
    }
}

/// The first bytes that the host sends on a connection to the forward port. Client bytes follow at once.
///
/// ```
/// version 1   token (32 bytes)  port (2 bytes)
/// version 2   token (32 bytes)  0 (2 bytes)  2 (1 byte)  flags (1 byte)  port (2 bytes)
/// ```
/// Numbers are big-endian. No port is 0, so an agent that knows version 1 alone refuses what it would not understand.
/// Flags that an agent doesn't know it passes over.
package struct ForwardPreamble: Hashable, Sendable {
    /// Bytes of version 1, with which every version begins.
    package static let firstSize = MachineToken.size + 2
    /// Bytes behind them from version 2 on.
    package static let secondSize = 4

    package var token: MachineToken
    package var port: PortNumber
    package var version: ForwardVersion
    /// The host sends nothing before it has the answer, so the agent must not keep it. Version 1 can't say so.
    package var waitsForAnswer: Bool

    /// The flag for `waitsForAnswer`.
    static let waitingFlag: UInt8 = 1
    /// The flag for `keepsTunnel`.
    static let keepingFlag: UInt8 = 2

    /// After both ends of this connection the tunnel may be asked to carry another.
    package var keepsTunnel: Bool { version >= .kept }

    package init(
        token: MachineToken, port: PortNumber, version: ForwardVersion = .raw, waitsForAnswer: Bool = false
    ) {
        self.token = token
        self.port = port
        self.version = version
        self.waitsForAnswer = waitsForAnswer
    }

    /// The wire form.
    package var bytes: [UInt8] {
        let number = [UInt8(port.rawValue >> 8), UInt8(port.rawValue & 0xff)]
        return switch version {
        case .raw: token.bytes + number
        case .records, .tables, .kept:
            token.bytes + [0, 0, ForwardVersion.records.rawValue, flags] + number
        }
    }
}

extension ForwardPreamble {
    private var flags: UInt8 {
        (waitsForAnswer ? Self.waitingFlag : 0) | (keepsTunnel ? Self.keepingFlag : 0)
    }
}

/// What the host sends on a connection to the forward port over which it wants tables instead of bytes of a port.
///
/// ```
/// version 3   token (32 bytes)  0 (2 bytes)  3 (1 byte)  0 (1 byte)  lowest port (2 bytes)  highest port (2 bytes)
/// ```
package struct TablePreamble: Hashable, Sendable {
    /// Bytes behind those of version 1.
    package static let secondSize = 6

    package var token: MachineToken
    package var range: PortRange

    package init(token: MachineToken, range: PortRange) {
        self.token = token
        self.range = range
    }

    /// The wire form.
    package var bytes: [UInt8] {
        let bounds = [range.lower, range.upper].flatMap {
            [UInt8($0.rawValue >> 8), UInt8($0.rawValue & 0xff)]
        }
        return token.bytes + [0, 0, ForwardVersion.tables.rawValue, 0] + bounds
    }
}

/// The one byte with which the agent answers a preamble.
package enum ForwardStatus: UInt8, Sendable {
    case connected = 0
    /// Nothing accepted the connection in the guest.
    case refused = 1
    /// The port may not be forwarded, or the preamble is of no known version.
    case notAllowed = 2
    case badToken = 3
}
