package import GRPCCore
internal import GRPCProtobuf

/// Reads tables of an agent, but none with more rows than there can be: a row of two bytes takes a hundred in memory, so a
/// message that is not too long may still be far too large.
package struct TableDeserializer: MessageDeserializer {
    package init() {}

    /// - Throws: `RPCError`; `.resourceExhausted` for a table that has too many rows, `.invalidArgument` for what is no table.
    package func deserialize<Bytes: GRPCContiguousBytes>(
        _ bytes: Bytes
    ) throws -> Rum_V1_ListeningPortsResponse {
        do {
            try bytes.withUnsafeBytes { try TableBounds.check($0) }
        } catch TableFrame.Problem.tooLarge {
            throw RPCError(code: .resourceExhausted, message: "the table has too many rows")
        } catch {
            throw RPCError(code: .invalidArgument, message: "what came is no table", cause: error)
        }
        return try ProtobufDeserializer<Rum_V1_ListeningPortsResponse>().deserialize(bytes)
    }
}
