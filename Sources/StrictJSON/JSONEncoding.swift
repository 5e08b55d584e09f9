extension JSONValue {
    /// The document as text: compact, or with `indent` spaces for each level as Python's `json.dumps` writes it.
    public func encoded(indent: Int? = nil) -> String {
        var result = ""
        write(into: &result, indent: indent, level: 0)
        return result
    }

    private func write(into text: inout String, indent: Int?, level: Int) {
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .number(let value): text += value.text
        case .string(let value): text += JSONText.quoted(value)
        case .array(let items):
            Self.list(items, "[", "]", into: &text, indent, level) { item, text in
                item.write(into: &text, indent: indent, level: level + 1)
            }
        case .object(let object):
            Self.list(object.entries, "{", "}", into: &text, indent, level) { entry, text in
                text += JSONText.quoted(entry.key) + (indent == nil ? ":" : ": ")
                entry.value.write(into: &text, indent: indent, level: level + 1)
            }
        }
    }

    private static func list<T>(
        _ items: [T], _ open: String, _ close: String, into text: inout String, _ indent: Int?, _ level: Int,
        _ body: (T, inout String) -> Void
    ) {
        text += open
        let line = { (level: Int) in indent.map { "\n" + String(repeating: " ", count: $0 * level) } ?? "" }
        for (at, item) in items.enumerated() {
            if at > 0 { text += "," }
            text += line(level + 1)
            body(item, &text)
        }
        if !items.isEmpty { text += line(level) }
        text += close
    }
}

/// JSON strings as the safetensors reference (serde_json) writes them.
public enum JSONText {
    /// `text` in quotes: only quotes, backslashes and C0 controls are escaped, all else is raw UTF-8.
    public static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\u{8}": result += "\\b"
            case "\u{C}": result += "\\f"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case ..<" ":
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
