import Linux

/// A hosts file (hosts(5)) with a block of lines of ours in it, one for each user of the host: a pure function of its bytes.
struct HostsFile {
    /// Why its text is left alone.
    struct Damaged: Error, Hashable {
        /// Counted from 1.
        var line: Int
    }

    private let bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The file with these lines as the user's block, at the place of the one before or else at the end; without lines, the
    /// file without the block. All other bytes stay as they are.
    func with(_ lines: [String], of user: UInt32) throws(Damaged) -> [UInt8] {
        let (first, last) = Self.marks(of: user)
        let old = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        var kept: [ArraySlice<UInt8>] = []
        var place: Int?
        var begun: Int?
        for (number, line) in old.enumerated() {
            if line.elementsEqual(first.utf8) {
                guard begun == nil else { throw Damaged(line: number + 1) }
                begun = number
                place = place ?? kept.count
            } else if line.elementsEqual(last.utf8) {
                guard begun != nil else { throw Damaged(line: number + 1) }
                begun = nil
            } else if begun == nil {
                kept.append(line)
            }
        }
        // Nobody can tell what of the rest is ours.
        if let begun { throw Damaged(line: begun + 1) }
        let block = lines.isEmpty ? [] : ([first] + lines + [last]).map { ArraySlice($0.utf8) }
        if let place {
            kept.insert(contentsOf: block, at: place)
        } else if !block.isEmpty {
            // What follows the last line end is no line; a file without one at its end gets it.
            if kept.last?.isEmpty == true { kept.removeLast() }
            kept += block + [[]]
        }
        return Array(kept.joined(separator: [UInt8(ascii: "\n")]))
    }

    private static func marks(of user: UInt32) -> (String, String) {
        ("# rum: machines of user \(user)", "# rum: end of user \(user)")
    }

    /// A line of such a file that names only what is ours to name: a loopback address, and names under localhost.
    static func isOurs(_ line: String) -> Bool {
        let words = line.split { $0 == " " || $0 == "\t" }
        guard words.count >= 2, let address = IPAddress(text: words[0]), address.isLoopback else {
            return false
        }
        return words.dropFirst().allSatisfy { name in
            name.hasSuffix(".localhost") && name.utf8.count <= 253
                && name.utf8.allSatisfy { byte in
                    byte.isASCIIDigit || byte.isASCIILowercase || "-_.".utf8.contains(byte)
                }
        }
    }
}
