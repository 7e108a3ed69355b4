internal import Linux
internal import Ports

extension ListenTable {
    /// The table as a `ListeningPortsResponse`: the bytes that `message` has too, in a fraction of the time.
    var wireBytes: [UInt8] {
        var writer = WireWriter()
        var packed = WireWriter()
        for port in ports { packed.varint(UInt64(port.rawValue)) }
        if !packed.bytes.isEmpty { writer.piece(1, packed.bytes) }
        for listener in listeners { writer.piece(2, listener.wireBytes) }
        writer.number(3, revision)
        writer.text(4, source.mode.rawValue)
        writer.text(5, source.push.rawValue)
        writer.text(6, source.degraded ?? "")
        for (pid, details) in described { writer.piece(7, details.wireBytes(of: pid)) }
        return writer.bytes
    }

    /// The processes of which there are details, each once.
    var described: [(pid: Int32, details: ProcessDetails)] {
        var seen: Set<Int32> = []
        return listeners.compactMap { listener in
            guard let process = listener.process, let details = process.details,
                seen.insert(process.pid).inserted
            else { return nil }
            return (process.pid, details)
        }
    }
}

extension ListeningSocket {
    fileprivate var wireBytes: [UInt8] {
        var writer = WireWriter()
        writer.piece(1, address.networkBytes)
        writer.number(2, UInt64(port.rawValue))
        writer.number(3, ipv6Only ? 1 : 0)
        writer.number(4, UInt64(interfaceIndex))
        if let process {
            writer.number(5, UInt64(bitPattern: Int64(process.pid)))
            writer.text(6, process.name)
        }
        writer.number(7, listenedAt ?? 0)
        return writer.bytes
    }
}

extension ProcessDetails {
    fileprivate func wireBytes(of pid: Int32) -> [UInt8] {
        var writer = WireWriter()
        writer.number(1, UInt64(bitPattern: Int64(pid)))
        writer.text(2, command)
        writer.text(3, container ?? "")
        return writer.bytes
    }
}
