import ArgumentParser
import CommandMain
import PortForward
import Ports

/// How forwards are told of.
struct EventOutput: ParsableArguments {
    @Flag(help: "Print one JSON object a line.")
    var json = false

    @Flag(name: .shortAndLong, help: "Say more on standard error.")
    var verbose = false

    /// Prints what has happened: data for programs and for people alike, so on standard output.
    ///
    /// Nobody reading any more does not end the forwards.
    func print(_ event: ForwardEvent) {
        try? StandardOutput.line(json ? event.json : event.line)
        if verbose, !json, let latency = event.latencyMicroseconds {
            StandardError.line(
                "rum: port \(event.forward?.hostPort.description ?? "?") open \(latency) µs after listen()")
        }
    }

    /// Says something that only --verbose asks for.
    func detail(_ text: String) {
        if verbose { StandardError.line("rum: \(text)") }
    }
}
