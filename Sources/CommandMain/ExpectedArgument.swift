package import ArgumentParser

/// What an option or argument is read as, whose error says what was expected instead. The parser's own would only say that the
/// value is invalid: an option of this type has `transform: Value.read`.
package protocol ExpectedArgument: ExpressibleByArgument {
    /// Such as "a port from 1 to 65535".
    static var expected: String { get }
}

extension ExpectedArgument {
    @Sendable package static func read(_ text: String) throws -> Self {
        guard let value = Self(argument: text) else { throw ValidationError("expected \(expected)") }
        return value
    }
}
