import CommandMain
import Foundation
import HostForward
import Linux
import Machine
import Names
import PortForward
import Ports
import Relay
import Router

extension RouterPorts {
    /// What the environment says.
    static func configured() throws(CommandFailure) -> RouterPorts {
        let text = ProcessInfo.processInfo.environment[variable]
        if let ports = RouterPorts(text: text) { return ports }
        throw CommandFailure(
            "\(variable): expected \(expected), not \"\((text ?? "").printable(limit: 60))\"",
            hint: "correct the variable, or unset it: then it is 7000", status: .usage)
    }
}

extension NameRouter {
    /// The router of a machine's names, in the folder of this user.
    ///
    /// - Parameter say: gets a sentence about what has become of them.
    static func make(
        for machine: String, _ session: ForwardSession, _ engine: RelayEngine,
        say: @escaping @Sendable (String) -> Void
    ) throws(CommandFailure) -> NameRouter {
        let ports = try RouterPorts.configured()
        let folder = try explainedNow { () throws(MachineError) in
            try MachineFiles.sharedFolder(environment: ProcessInfo.processInfo.environment)
        }
        return NameRouter(
            machine: machine, folder: folder, ports: ports, routes: session.routes, engine: engine
        ) { say($0.sentence(of: machine)) }
    }

    /// Where the machine's page is; nil while its names lead nowhere.
    var url: String? { port.map { ServiceName.url(of: nil, machine: machine, router: $0) } }
}

extension RouterNews {
    func sentence(of machine: String) -> String {
        switch self {
        case .open(let port):
            let example = ServiceName.url(of: "PORT", machine: machine, router: port)
            return
                "By name: \(example) is a port of the guest, \(ServiceName.url(of: nil, machine: machine, router: port)) lists them"
        case .blocked(let port, let error, let holder):
            let reason =
                error.isAddressInUse
                ? "is held by \(holder?.description ?? "another process")" : "can't be bound: \(error.reason)"
            return
                "No names: localhost:\(port) \(reason). It is tried again; \(RouterPorts.variable) sets another port, or off"
        case .nameTaken: return "No names: another process forwards a machine called \(machine)"
        case .closedToOthers(let error):
            return "No names for further machines: \(error.operation): \(error.reason). It is tried again"
        case .failed(let error): return "No names: \(error.operation): \(error.reason). It is tried again"
        }
    }
}
