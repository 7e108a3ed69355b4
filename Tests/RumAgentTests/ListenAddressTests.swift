import Testing

@testable import rum_agent

@Suite("Where the agent listens")
struct ListenAddressTests {
    @Test(
        "One line tells where, and over vsock without a token that every user of the host is served",
        arguments: [
            ("vsock", false, " without a token, so every user of the host is served; rum exec is refused"),
            ("vsock", true, ""),
            ("unix:/run/rum", false, ""),
            ("unix:/run/rum", true, ""),
            ("tcp:127.0.0.1", true, ""),
        ])
    func announcement(text: String, hasToken: Bool, warning: String) throws {
        let address = try #require(ListenAddress(argument: text))
        #expect(address.announcement(hasToken: hasToken) == "listening on \(text)\(warning)")
    }
}
