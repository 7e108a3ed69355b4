/// Finds `~.` at the beginning of a line, as in ssh: with it a user leaves a guest that does not answer, where Ctrl-C
/// would only be one more key for the guest.
struct ExecEscape {
    private enum Place {
        case lineStart
        /// Behind a tilde at the start of a line, which is held back.
        case tilde
        case inLine
    }

    private var place = Place.lineStart

    /// What of the typed bytes goes to the guest, and whether the user leaves.
    mutating func filter(_ bytes: [UInt8]) -> (toGuest: [UInt8], leaves: Bool) {
        var result: [UInt8] = []
        for byte in bytes {
            let tilde = UInt8(ascii: "~")
            switch place {
            case .lineStart where byte == tilde:
                place = .tilde
                continue
            case .tilde:
                if byte == UInt8(ascii: ".") { return (result, true) }
                // Two of them are one.
                if byte != tilde { result.append(tilde) }
            case .lineStart, .inLine: break
            }
            result.append(byte)
            let isLineEnd = byte == UInt8(ascii: "\r") || byte == UInt8(ascii: "\n")
            place = isLineEnd ? .lineStart : .inLine
        }
        return (result, false)
    }
}
