/// What the connections of one loop share: pipes, buffers, and what is known about splice.
final class RelayResources {
    let turnBytes: Int
    var pipes: PipePool
    var buffers: BufferPool
    /// For directions that found no buffer; holds nothing between calls.
    let scratch: RelayBuffer
    /// A flow has lately found no pipe or no buffer.
    var isShort = false
    private var trials: [SpliceTrial]

    init(_ options: RelayOptions) {
        turnBytes = options.turnBytes
        pipes = PipePool(limit: options.pipesPerLoop, pipeSize: options.pipeSize)
        buffers = BufferPool(
            limit: options.buffersPerLoop, bufferSize: options.bufferSize, spillLimit: options.spillLimit)
        scratch = RelayBuffer(size: 16 << 10)
        let kinds = Transport.allCases.count
        trials = Array(repeating: SpliceTrial(options.splice), count: kinds * kinds)
    }

    func trial(from source: Transport, to sink: Transport) -> SpliceTrial { trials[index(source, sink)] }

    func withTrial(from source: Transport, to sink: Transport, _ body: (inout SpliceTrial) -> Void) {
        body(&trials[index(source, sink)])
    }

    private func index(_ source: Transport, _ sink: Transport) -> Int {
        source.rawValue * Transport.allCases.count + sink.rawValue
    }
}
