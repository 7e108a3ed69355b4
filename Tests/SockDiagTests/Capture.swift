import Foundation
import Ports
import SockDiag
import Testing

/// A whole answer of the kernel, datagram by datagram, from fixtures/sockdiag. All were asked with sequence 7.
struct Capture {
    static let sequence: UInt32 = 7

    var datagrams: [[UInt8]]

    init(_ name: String) throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../fixtures/sockdiag/\(name).bin").standardizedFileURL
        var rest = Array(try Data(contentsOf: file))[...]
        datagrams = []
        while rest.count >= 4 {
            let length = rest.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(4)
            datagrams.append(Array(rest.prefix(length)))
            rest = rest.dropFirst(length)
        }
    }

    /// What `DiagReply` makes of it, and where it stopped.
    func decoded(
        sequence: UInt32 = sequence
    ) throws(SockDiagError) -> (rows: [ObservedListener], progress: DiagReply.Progress) {
        var rows: [ObservedListener] = []
        for datagram in datagrams {
            let progress = try Self.decode(datagram, sequence, &rows)
            if progress == .done { return (rows, progress) }
        }
        return (rows, .more)
    }

    private static func decode(
        _ datagram: [UInt8], _ sequence: UInt32, _ rows: inout [ObservedListener]
    ) throws(SockDiagError) -> DiagReply.Progress {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: datagram.count, alignment: 8)
        defer { copy.deallocate() }
        copy.copyBytes(from: datagram)
        return try DiagReply.decode(UnsafeRawBufferPointer(copy), sequence: sequence, into: &rows)
    }
}
