/// The bounds of what a program says.
enum OutputLimits {
    /// Bytes of lines that may wait for the reader of one stream; what comes on top is dropped and counted.
    ///
    /// The state of 1024 forwards, as `--json` tells it after lines were dropped, takes less than half of it.
    static let waitingBytes = 512 << 10
    /// Bytes of one write(2). A pipe that poll(2) calls writable takes so many without blocking (pipe(7), PIPE_BUF),
    /// and lines of other programs on the same pipe do not mix with them.
    static let writeSize = 4096
    /// How long a program that ends waits for its readers.
    static let flushTime = Duration.seconds(1)
}
