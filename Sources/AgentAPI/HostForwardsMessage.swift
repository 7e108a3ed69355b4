package import Ports

extension Rum_V1_HostForwards {
    /// As many as one message takes.
    package init(_ forwards: [ForwardedPort]) {
        self.init()
        self.forwards = forwards.prefix(AgentLimits.mostForwards).map { forward in
            var message = Rum_V1_HostForward()
            message.guestPort = UInt32(forward.guest.rawValue)
            message.hostPort = UInt32(forward.host.rawValue)
            message.bind = forward.bind.text
            return message
        }
    }

    /// The forwards; nil when there are too many, or one is none.
    package var list: [ForwardedPort]? {
        guard forwards.count <= AgentLimits.mostForwards else { return nil }
        var list: [ForwardedPort] = []
        for message in forwards {
            guard let guest = PortNumber(exactly: Int(message.guestPort)),
                let host = PortNumber(exactly: Int(message.hostPort)),
                let bind = BindAddress(text: message.bind)
            else { return nil }
            list.append(ForwardedPort(guest: guest, host: host, bind: bind))
        }
        return list
    }
}
