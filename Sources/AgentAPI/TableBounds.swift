/// How many rows, ports and processes a table of an agent can have.
package enum TableBounds {
    /// Counts the rows, ports and processes of a message before it is decoded.
    ///
    /// Walks the fields of the message itself (protobuf.dev, Encoding).
    ///
    /// - Throws: `tooLarge` for more of them than a table can have; `unreadable` for what is no protobuf, and for a group, which no
    ///   message of ours has: what stands behind either could not be counted.
    package static func check(_ message: UnsafeRawBufferPointer) throws(TableFrame.Problem) {
        var fields = WireFields(message)
        var (rows, ports, processes, others) = (0, 0, 0, 0)
        while let field = fields.next() {
            switch (field.number, field.value) {
            case (_, .group): throw .unreadable
            case (1, .piece(let packed)): ports += packed.reduce(0) { $1 < 0x80 ? $0 + 1 : $0 }
            case (1, _): ports += 1
            case (2, _): rows += 1
            case (7, let value):
                processes += 1
                if case .piece(let bytes) = value, bytes.count > AgentLimits.longestDescription {
                    throw .tooLarge
                }
            default: others += 1
            }
            guard rows <= AgentLimits.mostRows, ports <= AgentLimits.mostPorts,
                processes <= AgentLimits.mostDescribed, others <= AgentLimits.mostRows
            else {
                throw .tooLarge
            }
        }
        if fields.isBroken { throw .unreadable }
    }
}
