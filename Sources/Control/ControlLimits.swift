/// The bounds of the control protocol; docs/control-protocol.md tells them.
package enum ControlLimits {
    /// Grows with every change that an older end cannot live with. The greeting and `stop` never change.
    package static let version = 1

    /// Bytes of a request, with its line end.
    static let request = 4096
    /// Bytes of one message of the owner, with its line end: the state of 1024 forwards takes a tenth of it.
    static let message = 4 << 20
    /// Bytes that may wait for one client. Who is further behind is dropped, and may come again.
    static let waiting = 4 << 20
    /// Clients at once; further ones are told so.
    static let clients = 64

    /// How long a client may take to send its request.
    static let requestTime = Duration.seconds(2)
    /// How long the last messages of an answer may take.
    static let drainTime = Duration.seconds(5)
    /// How long an owner that ends waits for its clients.
    static let farewellTime = Duration.milliseconds(500)
    /// How long a client waits for the greeting, which a busy owner sends late.
    static let greetingTime = Duration.seconds(5)
    /// How long a client waits for an answer that the owner can give by itself.
    package static let answerTime = Duration.seconds(10)
    /// Beyond the time that the client itself has asked the owner to wait.
    static let answerSlack = Duration.seconds(5)
}
