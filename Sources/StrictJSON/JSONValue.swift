import Problems

/// A JSON document in memory.
public enum JSONValue: Sendable, Equatable {
    /// `null`.
    case null
    /// `true` or `false`.
    case bool(Bool)
    /// A number.
    case number(JSONNumber)
    /// A string.
    case string(String)
    /// An array.
    case array([JSONValue])
    /// An object.
    case object(JSONObject)

    /// The truth value, if this is one.
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    /// The text, if this is a string.
    public var string: String? { if case .string(let value) = self { value } else { nil } }
    /// The number, if this is one.
    public var number: JSONNumber? { if case .number(let value) = self { value } else { nil } }
    /// The items, if this is an array.
    public var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
    /// The object, if this is one.
    public var object: JSONObject? { if case .object(let value) = self { value } else { nil } }

    /// Arrays and objects may nest this deep.
    public static let depthLimit = 64

    /// Reads a whole document.
    ///
    /// - Parameter allowNonFinite: whether `NaN`, `Infinity` and `-Infinity` count as numbers, as Python writes them.
    public static func parse(_ bytes: [UInt8], allowNonFinite: Bool = false) throws(Problem) -> JSONValue {
        var reader = JSONReader(bytes)
        try reader.expectNoByteOrderMark()
        let value = try JSONValue(from: &reader, allowNonFinite: allowNonFinite)
        try reader.expectEnd()
        return value
    }

    /// Reads the value that comes next, whole.
    public init(from reader: inout JSONReader, allowNonFinite: Bool = false) throws(Problem) {
        self = try ValueBuilder(allowNonFinite: allowNonFinite).value(&reader, depth: 0)
    }
}

/// Builds values; it recurses, but no deeper than the limit.
private struct ValueBuilder {
    let allowNonFinite: Bool

    func value(_ reader: inout JSONReader, depth: Int) throws(Problem) -> JSONValue {
        let next = reader.peek() ?? 0
        switch next {
        case UInt8(ascii: "{"): return .object(try object(&reader, depth))
        case UInt8(ascii: "["): return .array(try array(&reader, depth))
        case UInt8(ascii: "\""): return .string(try reader.string())
        case UInt8(ascii: "t") where reader.take(word: "true"): return .bool(true)
        case UInt8(ascii: "f") where reader.take(word: "false"): return .bool(false)
        case UInt8(ascii: "n") where reader.take(word: "null"): return .null
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "N"), UInt8(ascii: "I"):
            return .number(try number(&reader))
        default: throw reader.problem("syntax", "found \(reader.found), but a value was needed")
        }
    }

    private func number(_ reader: inout JSONReader) throws(Problem) -> JSONNumber {
        for word in ["NaN", "Infinity", "-Infinity"] where reader.take(word: word) {
            if allowNonFinite { return JSONNumber(text: word) }
            throw reader.problem(
                "number", "has \(word), which JSON does not have", at: reader.position - word.utf8.count)
        }
        return try reader.number()
    }

    private func requireDepth(_ reader: borrowing JSONReader, _ depth: Int) throws(Problem) {
        guard depth < JSONValue.depthLimit else {
            throw reader.problem("depth", "nests deeper than \(JSONValue.depthLimit) levels")
        }
    }

    private func object(_ reader: inout JSONReader, _ depth: Int) throws(Problem) -> JSONObject {
        try requireDepth(reader, depth)
        try reader.expect("{")
        var result = JSONObject()
        if reader.take("}") { return result }
        repeat {
            _ = reader.peek()
            let place = reader.position
            let key = try reader.string()
            guard !result.contains(key) else {
                throw reader.problem("duplicate", "has the key '\(key.excerpt)' twice", at: place)
            }
            try reader.expect(":")
            let value = try value(&reader, depth: depth + 1)
            result.append(JSONObject.Entry(key: key, value: value, offset: place))
        } while reader.take(",")
        try reader.expect("}")
        return result
    }

    private func array(_ reader: inout JSONReader, _ depth: Int) throws(Problem) -> [JSONValue] {
        try requireDepth(reader, depth)
        try reader.expect("[")
        var result: [JSONValue] = []
        if reader.take("]") { return result }
        repeat { result.append(try value(&reader, depth: depth + 1)) } while reader.take(",")
        try reader.expect("]")
        return result
    }
}
