internal import Linux
internal import Ports

/// Where the fields of a tracepoint's record are, as its `format` file says.
struct TraceFormat {
    struct Field: Equatable {
        var offset: Int
        var size: Int
    }

    private let fields: [String: Field]

    /// Reads lines like `field:__u16 sport; offset:24; size:2; signed:0;`.
    init(text: String) {
        var fields: [String: Field] = [:]
        for line in text.split(separator: "\n") {
            var name: Substring?
            var offset: Int?
            var size: Int?
            for part in line.split(separator: ";") {
                let pair = part.drop { $0 == "\t" || $0 == " " }.split(separator: ":", maxSplits: 1)
                guard pair.count == 2 else { continue }
                switch pair[0] {
                case "field":
                    // `__u8 saddr[4]`: the last word, without its array bounds.
                    name = pair[1].split(separator: " ").last?.prefix { $0 != "[" }
                case "offset": offset = Self.place(pair[1])
                case "size": size = Self.place(pair[1])
                default: continue
                }
            }
            if let name, let offset, let size { fields[String(name)] = Field(offset: offset, size: size) }
        }
        self.fields = fields
    }

    /// A number within a record, which is at most 64 KiB long (perf_event_header).
    private static func place(_ text: Substring) -> Int? { UInt16(text).map(Int.init) }

    subscript(_ name: String) -> Field? { fields[name] }
}

/// Reads records of `sock:inet_sock_set_state` (include/trace/events/sock.h).
struct SocketStateFormat {
    private let newState: TraceFormat.Field
    private let port: TraceFormat.Field
    private let family: TraceFormat.Field
    private let v4: TraceFormat.Field
    private let v6: TraceFormat.Field
    private let end: Int

    /// nil when a field is missing or has another size than in every kernel so far.
    init?(_ format: TraceFormat) {
        guard let newState = format["newstate"], newState.size == 4, let port = format["sport"],
            port.size == 2,
            let family = format["family"], family.size == 2, let v4 = format["saddr"], v4.size == 4,
            let v6 = format["saddr_v6"], v6.size == 16
        else { return nil }
        (self.newState, self.port, self.family, self.v4, self.v6) = (newState, port, family, v4, v6)
        end = [newState, port, family, v4, v6].map { $0.offset + $0.size }.max() ?? 0
    }

    /// The hint in a record, nil when it is too short or of another family.
    func hint(_ sample: PerfRing.Sample) -> ListenHint? {
        let record = sample.fields
        guard record.count >= end else { return nil }
        let state = record.loadUnaligned(fromByteOffset: newState.offset, as: Int32.self)
        // Host byte order already (ntohs in the tracepoint).
        let number = record.loadUnaligned(fromByteOffset: port.offset, as: UInt16.self)
        return ListenHint(
            state == Int32(TCPState.listen.rawValue) ? .opened : .closed, in: sample,
            port: PortNumber(number), family: family.offset,
            v4: v4.offset, v6: v6.offset)
    }
}
