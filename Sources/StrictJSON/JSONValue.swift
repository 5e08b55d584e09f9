import Problems

/// A number as its source writes it.
public struct JSONNumber: Sendable, Equatable {
    /// The source text, such as `1e-05`; or Python's `NaN`, `Infinity`, `-Infinity`.
    public let text: String

    /// Keeps `text`, which must be a JSON number.
    public init(text: String) { self.text = text }

    /// The value, if it is written as a whole number that fits.
    public var int: Int? { text.utf8.allSatisfy { $0 == UInt8(ascii: "-") || (0x30...0x39).contains($0) } ? Int(text) : nil }

    /// The nearest double.
    public var double: Double {
        switch text {
        case "NaN": .nan
        case "Infinity": .infinity
        case "-Infinity": -.infinity
        default: Double(text) ?? .nan
        }
    }
}

/// An object that keeps the order of its keys.
public struct JSONObject: Sendable, Equatable {
    /// A key and its value.
    public struct Entry: Sendable, Equatable {
        /// The key.
        public let key: String
        /// The value.
        public var value: JSONValue
    }

    /// All entries, in order.
    public private(set) var entries: [Entry]
    private var places: [String: Int]

    /// Takes `pairs` in their order; of equal keys the last one wins.
    public init(_ pairs: [(String, JSONValue)] = []) {
        entries = []
        places = [:]
        for (key, value) in pairs { self[key] = value }
    }

    /// The value of `key`; setting a new one appends it, setting `nil` removes it.
    public subscript(key: String) -> JSONValue? {
        get { places[key].map { entries[$0].value } }
        set {
            if let place = places[key] {
                if let newValue {
                    entries[place].value = newValue
                } else {
                    entries.remove(at: place)
                    places = Dictionary(uniqueKeysWithValues: entries.enumerated().map { ($1.key, $0) })
                }
            } else if let newValue {
                places[key] = entries.count
                entries.append(Entry(key: key, value: newValue))
            }
        }
    }

    /// Compares keys, order and values.
    public static func == (a: JSONObject, b: JSONObject) -> Bool { a.entries == b.entries }
}

/// A JSON document in memory.
public indirect enum JSONValue: Sendable, Equatable {
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

    /// The text, if this is a string.
    public var string: String? { if case .string(let value) = self { value } else { nil } }
    /// The number, if this is one.
    public var number: JSONNumber? { if case .number(let value) = self { value } else { nil } }
    /// The object, if this is one.
    public var object: JSONObject? { if case .object(let value) = self { value } else { nil } }

    /// Values may nest this deep.
    public static let depthLimit = 64

    /// Reads a whole document.
    ///
    /// - Parameter allowNonFinite: whether `NaN`, `Infinity` and `-Infinity` count as numbers, as Python writes them.
    public static func parse(_ bytes: [UInt8], allowNonFinite: Bool = false) throws(Problem) -> JSONValue {
        var reader = JSONReader(bytes)
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) {
            throw reader.problem("bom", "begins with a byte order mark, which JSON does not have")
        }
        let value = try parse(&reader, depth: 0, allowNonFinite)
        try reader.expectEnd()
        return value
    }

    private static func parse(_ reader: inout JSONReader, depth: Int, _ lenient: Bool) throws(Problem) -> JSONValue {
        guard depth <= depthLimit else { throw reader.problem("depth", "nests deeper than \(depthLimit) levels") }
        switch reader.peek() {
        case UInt8(ascii: "{"): return .object(try object(&reader, depth, lenient))
        case UInt8(ascii: "["): return .array(try array(&reader, depth, lenient))
        case UInt8(ascii: "\""): return .string(try reader.string())
        case UInt8(ascii: "t") where reader.take(word: "true"): return .bool(true)
        case UInt8(ascii: "f") where reader.take(word: "false"): return .bool(false)
        case UInt8(ascii: "n") where reader.take(word: "null"): return .null
        case UInt8(ascii: "N") where lenient && reader.take(word: "NaN"): return .number(JSONNumber(text: "NaN"))
        case UInt8(ascii: "I") where lenient && reader.take(word: "Infinity"):
            return .number(JSONNumber(text: "Infinity"))
        case UInt8(ascii: "-") where lenient && reader.take(word: "-Infinity"):
            return .number(JSONNumber(text: "-Infinity"))
        case let byte? where byte == UInt8(ascii: "-") || (0x30...0x39).contains(byte):
            return .number(try reader.number())
        default: throw reader.problem("syntax", "found \(reader.found), but a value was needed")
        }
    }

    private static func object(_ reader: inout JSONReader, _ depth: Int, _ lenient: Bool) throws(Problem) -> JSONObject {
        try reader.expect("{")
        var result = JSONObject()
        if reader.take("}") { return result }
        repeat {
            _ = reader.peek()
            let place = reader.position
            let key = try reader.string()
            guard result[key] == nil else { throw reader.problem("duplicate", "has the key '\(key)' twice", at: place) }
            try reader.expect(":")
            result[key] = try parse(&reader, depth: depth + 1, lenient)
        } while reader.take(",")
        try reader.expect("}")
        return result
    }

    private static func array(_ reader: inout JSONReader, _ depth: Int, _ lenient: Bool) throws(Problem) -> [JSONValue] {
        try reader.expect("[")
        var result: [JSONValue] = []
        if reader.take("]") { return result }
        repeat { result.append(try parse(&reader, depth: depth + 1, lenient)) } while reader.take(",")
        try reader.expect("]")
        return result
    }
}
