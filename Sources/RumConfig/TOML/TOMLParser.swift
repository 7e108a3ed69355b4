/// Parses TOML 1.0 (toml.io/en/v1.0.0) and keeps the line of every value.
///
/// The parser is the project's own because a configuration error must name its line even when the syntax is
/// fine, and because no input may crash it: the C++ parser behind the usual package reports no places for values
/// and aborts on some malformed keys.
struct TOMLParser {
    var scanner: TOMLScanner

    /// A word of a dotted key, and where it stands, for messages.
    private struct Key {
        let text: String
        let place: TOMLScanner.Place
    }

    /// Reads a whole document into its root table.
    static func parse(_ text: String) throws(TOMLSyntaxError) -> TOMLTable {
        var parser = TOMLParser(scanner: TOMLScanner(text))
        return try parser.document()
    }

    private mutating func document() throws(TOMLSyntaxError) -> TOMLTable {
        let root = TOMLTable(.header)
        var table = root
        while true {
            try scanner.skipBlank()
            guard let byte = scanner.current else { return root }
            if byte == UInt8(ascii: "[") {
                table = try header(in: root)
            } else {
                try assignment(in: table, depth: 0)
            }
            try scanner.endLine()
        }
    }

    // MARK: - Headers

    private mutating func header(in root: TOMLTable) throws(TOMLSyntaxError) -> TOMLTable {
        let line = scanner.line
        scanner.advance()
        let isList = scanner.take("[")
        let keys = try dottedKey()
        try scanner.expect(isList ? "]]" : "]", "to end the header")
        guard let last = keys.last else { return root }
        var table = root
        for key in keys.dropLast() { table = try step(into: key, of: table, creating: .passing, line: line) }
        return isList
            ? try appendTable(last, to: table, line: line) : try define(last, in: table, line: line)
    }

    private func define(_ key: Key, in table: TOMLTable, line: Int) throws(TOMLSyntaxError) -> TOMLTable {
        guard let old = table.entries[key.text] else {
            let new = TOMLTable(.header)
            table.entries[key.text] = TOMLNode(value: .table(new), line: line)
            return new
        }
        guard case .table(let known) = old.value, known.origin == .passing else {
            throw key.place.error("\(key.text) is defined already, on line \(old.line)")
        }
        known.origin = .header
        // From now on the table's place is its own header.
        table.entries[key.text] = TOMLNode(value: .table(known), line: line)
        return known
    }

    private func appendTable(_ key: Key, to table: TOMLTable, line: Int) throws(TOMLSyntaxError) -> TOMLTable
    {
        let new = TOMLTable(.header)
        let node = TOMLNode(value: .table(new), line: line)
        guard let old = table.entries[key.text] else {
            let list = TOMLList(isOfTables: true)
            list.nodes = [node]
            table.entries[key.text] = TOMLNode(value: .list(list), line: line)
            return new
        }
        guard case .list(let list) = old.value, list.isOfTables else {
            throw key.place.error("\(key.text) is defined already, on line \(old.line)")
        }
        list.nodes.append(node)
        return new
    }

    /// The table under `key`, made when there is none; for a list of tables, its newest.
    private func step(
        into key: Key, of table: TOMLTable, creating origin: TOMLTable.Origin, line: Int
    ) throws(TOMLSyntaxError) -> TOMLTable {
        guard let old = table.entries[key.text] else {
            let new = TOMLTable(origin)
            table.entries[key.text] = TOMLNode(value: .table(new), line: line)
            return new
        }
        switch old.value {
        case .table(let known) where known.origin == .dotted || origin == .passing && known.origin != .inline:
            return known
        case .list(let list) where list.isOfTables && origin == .passing:
            if case .table(let newest)? = list.nodes.last?.value { return newest }
        default: break
        }
        throw key.place.error("nothing can be added to \(key.text), which line \(old.line) defines")
    }

    // MARK: - Keys and values

    private mutating func assignment(in table: TOMLTable, depth: Int) throws(TOMLSyntaxError) {
        let line = scanner.line
        let keys = try dottedKey()
        try scanner.expect("=", "after the key")
        scanner.skipSpaces()
        guard let last = keys.last else { return }
        var table = table
        for key in keys.dropLast() { table = try step(into: key, of: table, creating: .dotted, line: line) }
        let value = try value(depth: depth)
        if let old = table.entries[last.text] {
            throw last.place.error("\(last.text) is defined already, on line \(old.line)")
        }
        table.entries[last.text] = TOMLNode(value: value, line: line)
    }

    private mutating func dottedKey() throws(TOMLSyntaxError) -> [Key] {
        var keys: [Key] = []
        repeat {
            scanner.skipSpaces()
            let place = scanner.place
            keys.append(Key(text: try scanner.key(), place: place))
            scanner.skipSpaces()
            guard keys.count <= ConfigLimits.nesting else { throw place.error("keys are nested too deeply") }
        } while scanner.take(".")
        return keys
    }

    private mutating func value(depth: Int) throws(TOMLSyntaxError) -> TOMLNode.Value {
        guard depth < ConfigLimits.nesting else { throw scanner.place.error("values are nested too deeply") }
        switch scanner.current {
        case UInt8(ascii: "\""), UInt8(ascii: "'"): return .string(try scanner.string())
        case UInt8(ascii: "["): return .list(try list(depth: depth))
        case UInt8(ascii: "{"): return .table(try inlineTable(depth: depth))
        default: return try scanner.scalar()
        }
    }

    private mutating func list(depth: Int) throws(TOMLSyntaxError) -> TOMLList {
        let list = TOMLList(isOfTables: false)
        scanner.advance()
        while true {
            try scanner.skipBlank()
            if scanner.take("]") { return list }
            let line = scanner.line
            list.nodes.append(TOMLNode(value: try value(depth: depth + 1), line: line))
            try scanner.skipBlank()
            if scanner.take("]") { return list }
            try scanner.expect(",", "or ] after a list's element")
        }
    }

    private mutating func inlineTable(depth: Int) throws(TOMLSyntaxError) -> TOMLTable {
        let table = TOMLTable(.header)
        defer { table.origin = .inline }
        scanner.advance()
        scanner.skipSpaces()
        if scanner.take("}") { return table }
        while true {
            try assignment(in: table, depth: depth + 1)
            scanner.skipSpaces()
            if scanner.take("}") { return table }
            try scanner.expect(",", "or } after an inline table's value")
        }
    }
}
