import Glibc
import Linux
import Testing

@testable import Relay

/// One direction by itself, between two unix socket pairs.
@Suite("Relay flow")
struct RelayFlowTests {
    /// Opens one end of a connected pair of non-blocking unix sockets for a flow; returns the other.
    static func open(_ end: inout RelayEnd, isSource: Bool) throws -> Peer {
        var ends: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        _ = try SystemError.check("socketpair", socketpair(AF_UNIX, kind, 0, &ends))
        end.open(OwnedDescriptor(owning: ends[0]), .unix, accepted: isSource)
        return Peer(OwnedDescriptor(owning: ends[1]))
    }

    @Test(
        "A flow whose reader pauses gives its pipe or buffer up, keeps its bytes, and goes on",
        arguments: [RelayOptions.SpliceUse.always, .never], [TunnelForm.raw, .records])
    func spill(_ splice: RelayOptions.SpliceUse, _ form: TunnelForm) throws {
        signal(SIGPIPE, SIG_IGN)
        var options = RelayOptions()
        options.splice = splice
        let resources = RelayResources(options)
        var source = RelayEnd(isTunnel: false)
        var sink = RelayEnd(isTunnel: true)
        let writer = try Self.open(&source, isSource: true)
        let reader = try Self.open(&sink, isSource: false)
        var flow = RelayFlow()
        if form == .records { flow.writeRecords() }
        var (moved, sent) = (UInt64(0), 0)
        // Until the sink takes no more and the flow is left with bytes in its hands.
        for _ in 0..<200 {
            sent += (try? writer.fill(UInt8(sent & 0x7f), settle: 0)) ?? 0
            source.readable = true
            var pass = RelayFlow.Pass(resources: resources, isLast: false)
            _ = flow.run(from: &source, to: &sink, &pass, moved: &moved)
        }
        #expect(resources.pipes.lent + resources.buffers.lent > 0)
        flow.spill(resources)
        #expect(resources.pipes.lent + resources.buffers.lent == 0 && resources.buffers.spilled > 0)
        writer.shutdownWriting()
        var got = 0
        while flow.state != .ended {
            got += try reader.readSome(1 << 20).count
            (source.readable, sink.writable) = (true, true)
            var pass = RelayFlow.Pass(resources: resources, isLast: false)
            _ = flow.run(from: &source, to: &sink, &pass, moved: &moved)
        }
        sink.close()
        while case let count = try reader.readSome(1 << 20).count, count > 0 { got += count }
        #expect(moved == UInt64(sent) && resources.buffers.spilled == 0)
        if form == .raw { #expect(got == sent) } else { #expect(got > sent) }
        source.close()
    }

    @Test("What a flow out of a tunnel of records has taken in stays what it is when it gives its pipe up")
    func spillOfRecords() throws {
        signal(SIGPIPE, SIG_IGN)
        for splice in [RelayOptions.SpliceUse.always, .never] {
            var options = RelayOptions()
            options.splice = splice
            let resources = RelayResources(options)
            var source = RelayEnd(isTunnel: true)
            var sink = RelayEnd(isTunnel: false)
            let writer = try Self.open(&source, isSource: true)
            let reader = try Self.open(&sink, isSource: false)
            var flow = RelayFlow()
            flow.readRecords()
            let record = (0..<(48 << 10)).map { UInt8(truncatingIfNeeded: $0 % 251) }
            var (moved, sent, got) = (UInt64(0), 0, [UInt8]())
            func turn(isReading: Bool) throws {
                (source.readable, sink.writable) = (true, true)
                var pass = RelayFlow.Pass(resources: resources, isLast: false)
                _ = flow.run(from: &source, to: &sink, &pass, moved: &moved)
                flow.spill(resources)
                if isReading { while let more = try? reader.readNow(), !more.isEmpty { got += more } }
            }
            // More than the sockets hold, so that the flow is left with bytes again and again.
            for round in 0..<40 {
                try writer.write([0, 0, 0xc0, 0])
                var rest = record[...]
                while !rest.isEmpty {
                    rest = rest.dropFirst(try writer.writeNow(rest))
                    try turn(isReading: round > 8)
                }
                sent += record.count
            }
            try writer.write([0, 0, 0, 0])
            while flow.state != .ended { try turn(isReading: true) }
            while got.count < sent { got += try reader.readSome() }
            #expect(got == (0..<40).flatMap { _ in record })
            #expect(resources.pipes.lent + resources.buffers.lent == 0 && resources.buffers.spilled == 0)
            source.close()
            sink.close()
        }
    }
}
