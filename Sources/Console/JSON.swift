import Problems

/// A JSON value to write; objects keep their order.
public enum JSON: Sendable {
    case object([(String, JSON)])
    case array([JSON])
    case string(String)
    case int(Int)
    /// Written with the fewest digits that read back the same; what is not finite becomes null.
    case double(Double)
    case bool(Bool)
    case null

    /// A Float with the fewest digits that read back as the same Float.
    public static func float(_ number: Float) -> JSON { .double(Double("\(number)") ?? Double(number)) }

    /// A text, or null.
    public static func optional(_ text: String?) -> JSON { text.map(JSON.string) ?? .null }

    /// A whole number, or null.
    public static func optional(_ number: Int?) -> JSON { number.map(JSON.int) ?? .null }

    /// A number, or null.
    public static func optional(_ number: Double?) -> JSON { number.map(JSON.double) ?? .null }

    /// On one line, without spaces.
    public var compact: String {
        var text = ""
        write(to: &text, indent: nil)
        return text
    }

    /// On several lines, two spaces for each level; arrays of plain values that fit stay on one line.
    public var pretty: String {
        var text = ""
        write(to: &text, indent: 0)
        return text
    }

    private func write(to text: inout String, indent: Int?) {
        switch self {
        case .object(let members):
            Self.write(members, "{", "}", to: &text, indent: indent) { member, text, indent in
                Self.write(member.0, to: &text)
                text += indent == nil ? ":" : ": "
                member.1.write(to: &text, indent: indent)
            }
        case .array(let values):
            if let indent, let line = oneLine(indent) {
                text += line
            } else {
                Self.write(values, "[", "]", to: &text, indent: indent) { $0.write(to: &$1, indent: $2) }
            }
        case .string(let string): Self.write(string, to: &text)
        case .int(let number): text += String(number)
        case .double(let number): text += number.isFinite ? "\(number)" : "null"
        case .bool(let truth): text += truth ? "true" : "false"
        case .null: text += "null"
        }
    }

    private static func write<T>(
        _ parts: [T], _ open: String, _ close: String, to text: inout String, indent: Int?,
        _ part: (T, inout String, Int?) -> Void
    ) {
        text += open
        for (index, element) in parts.enumerated() {
            if index > 0 { text += "," }
            if let indent { text += "\n" + String(repeating: " ", count: indent + 2) }
            part(element, &text, indent.map { $0 + 2 })
        }
        if let indent, !parts.isEmpty { text += "\n" + String(repeating: " ", count: indent) }
        text += close
    }

    /// An array of plain values on one line, nil if it holds others or gets too long: `[16, 4096]`.
    private func oneLine(_ indent: Int) -> String? {
        guard case .array(let values) = self, values.count <= 40 else { return nil }
        var line = "["
        for (index, value) in values.enumerated() {
            switch value {
            case .object, .array: return nil
            default: line += (index > 0 ? ", " : "") + value.compact
            }
        }
        return line.utf8.count + indent < 100 ? line + "]" : nil
    }

    private static func write(_ string: String, to text: inout String) {
        text += "\""
        if string.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C }) {
            text += string
        } else {
            for scalar in string.unicodeScalars { write(scalar, to: &text) }
        }
        text += "\""
    }

    private static func write(_ scalar: Unicode.Scalar, to text: inout String) {
        switch scalar {
        case "\"": text += "\\\""
        case "\\": text += "\\\\"
        case "\n": text += "\\n"
        case "\r": text += "\\r"
        case "\t": text += "\\t"
        // Not only what JSON asks for: a document on a terminal must not steer it either.
        case _ where scalar.isTreacherous:
            for unit in scalar.utf16 {
                let digits = String(unit, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }
        default: text.unicodeScalars.append(scalar)
        }
    }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    /// Makes a text.
    public init(stringLiteral value: String) { self = .string(value) }
    /// Makes a whole number.
    public init(integerLiteral value: Int) { self = .int(value) }
    /// Makes a number.
    public init(floatLiteral value: Double) { self = .double(value) }
    /// Makes a truth value.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    /// Makes an array.
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    /// Makes an object, in the order written.
    public init(dictionaryLiteral elements: (String, JSON)...) { self = .object(elements) }
    /// Makes a null.
    public init(nilLiteral: ()) { self = .null }
}

extension Problem {
    /// The problem with all its fields, null where one is not set.
    public var json: JSON {
        [
            "severity": .string(severity.rawValue), "kind": .string(kind.rawValue), "code": .string(code),
            "file": .optional(file), "tensor": .optional(tensor), "message": .string(message),
            "hint": .optional(hint), "offset": .optional(offset),
        ]
    }
}
