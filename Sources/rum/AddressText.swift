extension String {
    /// This address with a port, as users write it: an IPv6 address in brackets.
    func with(port: UInt16) -> String { contains(":") ? "[\(self)]:\(port)" : "\(self):\(port)" }
}
