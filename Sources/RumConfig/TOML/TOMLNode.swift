internal import Linux

/// A value of a TOML document and the line it stands on.
struct TOMLNode {
    enum Value {
        case table(TOMLTable)
        case list(TOMLList)
        case string(String)
        case integer(Int)
        case boolean(Bool)
        /// A floating-point number, a date or a time: nothing in rum.toml is one.
        case other(kind: String)
    }

    let value: Value
    /// Counted from 1; of the key for values that have one.
    let line: Int

    /// The value as an error message shows it.
    var shown: String {
        switch value {
        case .table: "a table"
        case .list: "a list"
        case .string(let text): "\"\(text.printable(limit: ConfigLimits.shownText))\""
        case .integer(let number): "\(number)"
        case .boolean(let flag): "\(flag)"
        case .other(let kind): kind
        }
    }
}

/// A table under construction; shared by reference, since later lines may add to it.
final class TOMLTable {
    /// How a table came to be, which decides what may be added to it later.
    enum Origin {
        /// Named on the way in a header such as `[a.b]`: `[a]` may still follow.
        case passing
        /// `[a]`, or one of `[[a]]`: sub-tables may follow.
        case header
        /// `a.b = 1`: more dotted keys and sub-tables may follow.
        case dotted
        /// `{ ... }`: complete.
        case inline
    }

    var entries: [String: TOMLNode] = [:]
    var origin: Origin

    init(_ origin: Origin) { self.origin = origin }
}

/// A list: `[1, 2]`, or the tables headed `[[name]]`.
final class TOMLList {
    var nodes: [TOMLNode] = []
    /// Whether `[[name]]` may append to it.
    let isOfTables: Bool

    init(isOfTables: Bool) { self.isOfTables = isOfTables }
}

/// An offence against TOML's syntax.
struct TOMLSyntaxError: Error, Equatable {
    let line: Int
    /// Counted from 1, in Unicode scalars.
    let column: Int
    let message: String
}
