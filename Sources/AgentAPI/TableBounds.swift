/// How many rows, ports and processes a table of an agent can have.
package enum TableBounds {
    /// Whether a message, well-formed or not, has at most as many rows, ports and processes as a table can have.
    ///
    /// Walks the fields of the message itself (protobuf.dev, Encoding). What is no protobuf ends the walk; the decoder then
    /// says so.
    package static func areKept(_ message: UnsafeRawBufferPointer) -> Bool {
        var fields = WireFields(message)
        var (rows, ports, processes, others) = (0, 0, 0, 0)
        while let field = fields.next() {
            switch (field.number, field.value) {
            case (1, .piece(let packed)): ports += packed.reduce(0) { $1 < 0x80 ? $0 + 1 : $0 }
            case (1, _): ports += 1
            case (2, _): rows += 1
            case (7, let value):
                processes += 1
                if case .piece(let bytes) = value, bytes.count > AgentLimits.longestDescription {
                    return false
                }
            default: others += 1
            }
            guard rows <= AgentLimits.mostRows, ports <= AgentLimits.mostPorts,
                processes <= AgentLimits.mostDescribed, others <= AgentLimits.mostRows
            else {
                return false
            }
        }
        return true
    }
}
