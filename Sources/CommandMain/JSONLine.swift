internal import FoundationEssentials
internal import Linux

extension Encodable {
    /// One line of JSON, without its end. A terminal may show it: names in it may come from a guest.
    package var jsonLine: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Texts, numbers and lists of them always encode.
        return String(decoding: (try? encoder.encode(self)) ?? Data(), as: UTF8.self).escapedForTerminals
    }
}

extension String {
    /// JSON in which what a terminal would not show in its place is escaped; to a reader of JSON it is the same.
    fileprivate var escapedForTerminals: String {
        if unicodeScalars.allSatisfy(\.isPrintable) { return self }
        return unicodeScalars.reduce(into: "") { result, scalar in
            if scalar.isPrintable { return result.unicodeScalars.append(scalar) }
            for unit in String(scalar).utf16 {
                result += "\\u" + unit.hexadecimal(digits: 4)
            }
        }
    }
}
