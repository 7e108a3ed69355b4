/// A pattern, read.
indirect enum PatternNode: Sendable {
    /// One character of a set.
    case one(CharacterSet)
    /// The text's start and its end.
    case start, end
    case sequence([PatternNode])
    case choice([PatternNode])
    /// `most` is nil for without end.
    case repeated(PatternNode, least: Int, most: Int?)

    static let anything = PatternNode.repeated(.one(.all), least: 0, most: nil)

    /// Unicode scalars, in ranges.
    struct CharacterSet: Sendable {
        var ranges: [ClosedRange<Unicode.Scalar>] = []
        var isNegated = false

        static let all = CharacterSet(isNegated: true)
        static let digits = CharacterSet(ranges: ["0"..."9"])
        static let wordCharacters = CharacterSet(ranges: ["0"..."9", "A"..."Z", "_"..."_", "a"..."z"])
        static let spaces = CharacterSet(ranges: ["\t"..."\r", " "..." "])

        func contains(_ scalar: Unicode.Scalar) -> Bool {
            ranges.contains { $0.contains(scalar) } != isNegated
        }
    }
}
