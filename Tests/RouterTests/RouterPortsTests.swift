import Ports
import Router
import Testing

@Suite("The router's ports")
struct RouterPortsTests {
    @Test(
        "As the environment has them",
        arguments: [
            (nil, [7000]), ("", [7000]), ("off", []), ("80", [80]), ("80,443,7000", [80, 443, 7000]),
        ] as [(String?, [UInt16])])
    func read(text: String?, ports: [UInt16]) throws {
        #expect(try #require(RouterPorts(text: text)).ports.map(\.rawValue) == ports)
    }

    @Test(
        "Nothing else",
        arguments: ["on", "0", "70000", "80,", ",", "80,80", "80 443", "-1", "1,2,3,4,5,6,7,8,9"])
    func refuse(text: String) { #expect(RouterPorts(text: text) == nil) }
}
