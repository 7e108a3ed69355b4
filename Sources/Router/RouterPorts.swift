package import Ports

/// The ports of the host on which clients come by name; none where the router is off.
///
/// They are the user's and not a machine's, since one router serves all machines: no rum.toml sets them.
package struct RouterPorts: Hashable, Sendable {
    /// The variable of the environment that sets them.
    package static let variable = "RUM_ROUTER_PORT"
    package static let expected = "a port such as 7000, several such as 80,443, or off"

    package let ports: [PortNumber]

    /// - Parameter text: the variable's value; nil and the empty one mean 7000.
    ///
    /// nil when it is neither ports nor `off`.
    package init?(text: String?) {
        switch text {
        case nil, "": ports = [7000].compactMap(PortNumber.init)
        case "off": ports = []
        case .some(let text):
            let parts = text.split(separator: ",", omittingEmptySubsequences: false)
            let numbers = parts.compactMap { PortNumber(text: $0) }
            guard numbers.count == parts.count, Set(numbers).count == numbers.count, numbers.count <= 8 else {
                return nil
            }
            ports = numbers
        }
    }
}
