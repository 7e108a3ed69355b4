import ArgumentParser
import Testing

@testable import rum

@Suite("Which machine a command is about")
struct MachineChoiceTests {
    @Test("A name, a path, or neither")
    func allowed() throws {
        #expect(try MachineChoice(name: "dev", config: nil).name == "dev")
        #expect(try MachineChoice(name: nil, config: "x.toml").config == "x.toml")
        _ = try MachineChoice(name: nil, config: nil)
    }

    private static let wrong: [(String?, String?, String)] = [
        ("dev", "x.toml", "not both"), ("", nil, "the machine's name is empty"),
        (nil, "", "the path after -c is empty"),
    ]

    @Test("Both, or an empty one, is refused", arguments: wrong)
    func refused(name: String?, config: String?, message: String) {
        let error = #expect(throws: ValidationError.self) { try MachineChoice(name: name, config: config) }
        #expect(error?.message.contains(message) == true)
    }
}
