// The relay under test as rum uses it, without the rest of rum: one process for the host's hop, one for the guest's.
//
//   bench-relay host PORT DIR SERVER [WORD]...    127.0.0.1:PORT -> DIR/2223.sock, asking for port SERVER
//   bench-relay guest DIR [WORD]...               DIR/2223.sock -> the port that is asked for
//
// "always" and "never" force splice or copying; without them the engine finds out. "raw" has the host ask for version 1 of the
// protocol; "loops=N" and "slice=MICROSECONDS" set what the options of the same names do. "me" has it ask for the owner of each
// client's socket, as rum does unless a forward allows the whole host.
import AgentChannel
import ClientOwner
import Glibc
import GuestForward
import Linux
import Ports
import Relay

struct Usage: Error {}

DescriptorLimit.raise()
signal(SIGPIPE, SIG_IGN)

var arguments = CommandLine.arguments.dropFirst()
var options = RelayOptions()
var version = ForwardVersion.newest
var owners: OwnerLookup?
loop: while let word = arguments.last {
    switch word {
    case "always": options.splice = .always
    case "never": options.splice = .never
    case "raw": version = .raw
    case _ where word.hasPrefix("loops="): options.loops = Int(word.dropFirst(6)) ?? options.loops
    case _ where word.hasPrefix("slice="): options.threadSlice = .microseconds(Int(word.dropFirst(6)) ?? 100)
    case "me": owners = try OwnerLookup()
    default: break loop
    }
    arguments.removeLast()
}
let engine = try RelayEngine(options: options) { line in
    _ = (line + "\n").withCString { write(2, $0, strlen($0)) }
}
let words = Array(arguments)
switch (words.first, words.count) {
case ("host", 4):
    guard let port = PortNumber(text: words[1]), let server = PortNumber(text: words[3]) else {
        throw Usage()
    }
    let opening = AgentOpening(to: .forward, of: .unix(directory: words[2]))
    let preamble = ForwardPreamble(token: .none, port: server, version: version)
    var role = RelayRole(tunnel: .dialled) { HostHandshake(opening: opening, preamble: preamble) }
    if let owners {
        let me = SocketOwner.user(geteuid())
        role.admitsClient = { client in
            (try? owners.owner(of: client.address, connectedTo: client.server)) == me
        }
    }
    let listener = try engine.listen(
        on: StreamSocket.listen(on: .tcp(.loopbackV4, port: port.rawValue)), role: role)
    withExtendedLifetime(listener) { while true { pause() } }
case ("guest", 2):
    let targets = DialTargets { [ListeningSocket(address: .loopbackV4, port: $0)] }
    let forwarder = GuestForwarder(engine: engine, token: .none, targets: targets)
    try forwarder.listen(on: AgentAddress.unix(directory: words[1]).socketAddress(for: .forward))
    withExtendedLifetime(forwarder) { while true { pause() } }
default: throw Usage()
}
