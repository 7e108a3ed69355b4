// The relay under test, without the rest of rum: one process for the host's hop, one for the guest's.
//
//   bench-relay host PORT DIR [always|never]    127.0.0.1:PORT -> DIR/2223.sock
//   bench-relay guest DIR PORT [always|never]   DIR/2223.sock -> 127.0.0.1:PORT
//
// The last word forces splice or copying; without it the engine finds out.
import AgentChannel
import Glibc
import GuestForward
import Linux
import Ports
import Relay

struct Usage: Error {}

DescriptorLimit.raise()
signal(SIGPIPE, SIG_IGN)

let arguments = CommandLine.arguments
guard (4...5).contains(arguments.count) else { throw Usage() }
var options = RelayOptions()
if arguments.count == 5 { options.splice = arguments[4] == "always" ? .always : .never }
let engine = try RelayEngine(options: options) { line in
    _ = (line + "\n").withCString { write(2, $0, strlen($0)) }
}
switch arguments[1] {
case "host":
    guard let port = PortNumber(text: arguments[2]), let guest = PortNumber(5001) else { throw Usage() }
    let listener = try engine.listen(
        on: StreamSocket.listen(on: .tcp(.loopbackV4, port: port.rawValue)),
        role: .host(
            agent: .unix(directory: arguments[3]), preamble: ForwardPreamble(token: .none, port: guest)))
    withExtendedLifetime(listener) { while true { pause() } }
case "guest":
    guard let port = PortNumber(text: arguments[3]) else { throw Usage() }
    let target = [SocketAddress.tcp(.loopbackV4, port: port.rawValue)]
    let forwarder = GuestForwarder(engine: engine, policy: GuestRelayPolicy(token: .none) { _ in target })
    try forwarder.listen(on: AgentAddress.unix(directory: arguments[2]).socketAddress(for: .forward))
    withExtendedLifetime(forwarder) { while true { pause() } }
default: throw Usage()
}
