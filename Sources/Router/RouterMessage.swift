/// What the process with the router's ports says to another one: a byte, an ASCII letter, for clients with a descriptor
/// (SCM_RIGHTS). The other way goes `RouterGreeting` alone.
enum RouterMessage: UInt8 {
    /// A client for the receiver's machine, untouched.
    case client = 0x63  // c
    /// The same, after `HTTP2.emptySettings` were said to it.
    case greetedClient = 0x67  // g
    /// The router's ports follow, with commas between them and a line end behind them; none while it has none.
    case ports = 0x70  // p
    /// Another process forwards a machine of that name.
    case nameTaken = 0x74  // t
}
