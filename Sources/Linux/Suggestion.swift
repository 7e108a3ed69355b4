/// Finds what a mistyped word was probably meant to be.
package enum Suggestion {
    /// The closest of `candidates` within two edits (one for words of up to three letters); nil when none is close.
    package static func closest(to word: String, among candidates: [String]) -> String? {
        let limit = word.count <= 3 ? 1 : 2
        // Long words cost a product of lengths, and no key is that long.
        guard word.utf8.count <= 64 else { return nil }
        return candidates.map { ($0, distance(word.lowercased(), $0)) }
            .filter { $0.1 <= limit }
            .min { $0.1 < $1.1 }?.0
    }

    /// The number of insertions, deletions and substitutions between two words (Levenshtein).
    private static func distance(_ left: String, _ right: String) -> Int {
        let right = Array(right)
        var row = Array(0...right.count)
        for (i, a) in left.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, b) in right.enumerated() {
                let substitution = diagonal + (a == b ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(substitution, row[j] + 1, diagonal + 1)
            }
        }
        return row[right.count]
    }
}
