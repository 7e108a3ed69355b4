/// An XML element that knows how to write itself; every text and attribute is escaped.
struct XMLElement {
    let name: String
    var attributes: [(name: String, value: String)]
    var text: String?
    var children: [XMLElement]

    init(
        _ name: String, _ attributes: KeyValuePairs<String, String> = [:], text: String? = nil,
        children: [XMLElement] = []
    ) {
        self.name = name
        self.attributes = attributes.map { ($0.key, $0.value) }
        self.text = text
        self.children = children
    }

    /// The element on lines of its own, indented by two spaces a level.
    func document(indent: Int = 0) -> String {
        let space = String(repeating: " ", count: indent)
        let open = attributes.reduce(name) { "\($0) \($1.name)='\(Self.escape($1.value))'" }
        if let text { return "\(space)<\(open)>\(Self.escape(text))</\(name)>\n" }
        if children.isEmpty { return "\(space)<\(open)/>\n" }
        let inner = children.map { $0.document(indent: indent + 2) }.joined()
        return "\(space)<\(open)>\n\(inner)\(space)</\(name)>\n"
    }

    /// Escapes what XML reserves, and drops the control characters that XML 1.0 cannot hold (section 2.2).
    static func escape(_ text: String) -> String {
        text.unicodeScalars.reduce(into: "") { result, scalar in
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "'": result += "&apos;"
            case "\"": result += "&quot;"
            case "\n", "\t", "\r": result += "&#\(scalar.value);"
            case _ where scalar.value < 32 || scalar.value == 0xfffe || scalar.value == 0xffff: break
            default: result.unicodeScalars.append(scalar)
            }
        }
    }
}
