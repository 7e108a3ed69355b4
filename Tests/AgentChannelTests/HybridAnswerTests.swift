import AgentChannel
import Testing

@Suite("Answers to CONNECT")
struct HybridAnswerTests {
    @Test(
        "The answer is one line that says OK and a number",
        arguments: [
            ("", .incomplete), ("O", .incomplete), ("OK 107374", .incomplete), ("OK 1073741824\n", .accepted),
            ("OK \n", .refused("OK ")), ("OK x\n", .refused("OK x")), ("ok 1\n", .refused("ok 1")),
            ("NO\n", .refused("NO")), ("\n", .refused("")),
            ("OK 4294967296\n", .refused("OK 4294967296")),
            (String(repeating: "x", count: 32), .refused(String(repeating: "x", count: 32))),
        ] as [(String, HybridAnswer)])
    func parse(_ text: String, _ expected: HybridAnswer) {
        #expect(HybridAnswer(Array(text.utf8)) == expected)
    }
}
