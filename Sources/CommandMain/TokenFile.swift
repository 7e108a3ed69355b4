package import AgentChannel
internal import Linux

/// The file that holds a machine's token.
package enum TokenFile {
    /// Reads it; the error says what should be in there.
    package static func read(_ path: String) throws(CommandFailure) -> MachineToken {
        let hint = "expected a file with 64 hexadecimal digits, the same on the host and in the guest"
        let text: String
        do throws(SystemError) {
            text = try SmallFile.text(of: path)
        } catch {
            throw CommandFailure("cannot read the token file \(path): \(error.reason)", hint: hint)
        }
        guard let token = MachineToken(text: text) else {
            throw CommandFailure("\(path) does not hold a token", hint: hint)
        }
        return token
    }
}
