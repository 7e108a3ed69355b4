internal import Linux
internal import Ports

extension ListenTable {
    /// Reads a `ListeningPortsResponse`, and makes of it what the generated code and `init(_:)` do, in a fraction of the time:
    /// a table on a feed waits for it.
    ///
    /// - Throws: `tooLarge` for more rows, ports or processes than there can be; `unreadable` for no such message.
    init(wireBytes: UnsafeRawBufferPointer) throws(TableFrame.Problem) {
        try TableBounds.check(wireBytes)
        var rows: [Row] = []
        var ports: [UInt32] = []
        var details: [Int32: ProcessDetails] = [:]
        var revision: UInt64 = 0
        var (mode, push, degraded) = ("", "", "")
        var fields = WireFields(wireBytes)
        while let field = fields.next() {
            switch (field.number, field.value) {
            case (1, .number(let port)): ports.append(UInt32(truncatingIfNeeded: port))
            case (1, .piece(let packed)): ports += try Self.numbers(packed)
            case (2, .piece(let bytes)): rows.append(try Row(wireBytes: bytes))
            case (3, .number(let number)): revision = number
            case (4, .piece(let bytes)): mode = try text(bytes)
            case (5, .piece(let bytes)): push = try text(bytes)
            case (6, .piece(let bytes)): degraded = try text(bytes)
            case (7, .piece(let bytes)):
                let process = try ProcessDetails.read(bytes)
                details[process.pid] = process.details
            default: break
            }
        }
        self.init(
            revision: revision, source: ListenSource(mode: mode, push: push, degraded: degraded), rows: rows,
            ports: ports, details: details)
    }

    private static func numbers(_ packed: UnsafeRawBufferPointer) throws(TableFrame.Problem) -> [UInt32] {
        var numbers: [UInt32] = []
        var fields = WireFields(packed)
        while !fields.isAtEnd {
            guard let number = fields.varint() else { throw .unreadable }
            numbers.append(UInt32(truncatingIfNeeded: number))
        }
        return numbers
    }
}

extension ListenTable.Row {
    fileprivate init(wireBytes: UnsafeRawBufferPointer) throws(TableFrame.Problem) {
        var address: IPAddress?
        var (port, interface) = (UInt32(0), UInt32(0))
        var onlyV6 = false
        var (pid, name, time) = (Int32(0), "", UInt64(0))
        var fields = WireFields(wireBytes)
        while let field = fields.next() {
            switch (field.number, field.value) {
            case (1, .piece(let bytes)): address = IPAddress(networkBytes: bytes)
            case (2, .number(let number)): port = UInt32(truncatingIfNeeded: number)
            case (3, .number(let number)): onlyV6 = number != 0
            case (4, .number(let number)): interface = UInt32(truncatingIfNeeded: number)
            case (5, .number(let number)): pid = Int32(truncatingIfNeeded: number)
            case (6, .piece(let bytes)): name = try text(bytes)
            case (7, .number(let number)): time = number
            case (_, .group): throw .unreadable
            default: break
            }
        }
        if fields.isBroken { throw .unreadable }
        self.port = port
        guard let address, let number = PortNumber(exactly: Int(port)) else { return }
        listener = ListeningSocket(
            address: address, port: number, ipv6Only: onlyV6, interfaceIndex: interface,
            process: pid > 0 ? ListeningProcess(pid: pid, name: name) : nil,
            listenedAt: time == 0 ? nil : time)
    }
}

extension ProcessDetails {
    fileprivate static func read(
        _ wireBytes: UnsafeRawBufferPointer
    ) throws(TableFrame.Problem) -> (pid: Int32, details: ProcessDetails) {
        var (pid, command, container) = (Int32(0), "", "")
        var fields = WireFields(wireBytes)
        while let field = fields.next() {
            switch (field.number, field.value) {
            case (1, .number(let number)): pid = Int32(truncatingIfNeeded: number)
            case (2, .piece(let bytes)): command = try text(bytes)
            case (3, .piece(let bytes)): container = try text(bytes)
            case (_, .group): throw .unreadable
            default: break
            }
        }
        if fields.isBroken { throw .unreadable }
        return (pid, ProcessDetails(command: command, container: container.isEmpty ? nil : container))
    }
}

/// A text, which is UTF-8 and nothing else (protobuf.dev, Language Guide).
private func text(_ bytes: UnsafeRawBufferPointer) throws(TableFrame.Problem) -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else { throw .unreadable }
    return text
}
