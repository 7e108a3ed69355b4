/// Tells texts apart by a short word that is the same in every process; not against somebody who wants two to collide.
package enum Fingerprint {
    /// FNV-1a, 64 bits, in hexadecimal digits.
    package static func of(_ text: String) -> String { String(number(of: text), radix: 16) }

    /// The same as a number.
    package static func number(of text: String) -> UInt64 {
        text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }
}
