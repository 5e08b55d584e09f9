/// A second reader of the format, small and slow, that shares nothing with the one under test: the oracle of the fuzz tests.
///
/// It reads the JSON into a tree by recursive descent over Unicode scalars and follows the format's rules one by one.
struct TinyReader {
    struct Entry: Equatable {
        let name: [UInt8]
        let dtype: String
        let shape: [UInt64]
        let begin: UInt64
        let end: UInt64
    }

    struct Refused: Error {}

    private indirect enum Tree {
        case string([UInt8])
        case number(String)
        case list([Tree])
        case object([(key: [UInt8], value: Tree)])
        case other(String)
    }

    private static let bits: [String: UInt64] = [
        "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
        "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32,
        "F32": 32,
        "C64": 64, "F64": 64, "I64": 64, "U64": 64,
    ]

    private var text: [Unicode.Scalar]
    private var at = 0

    /// The tensors of `file` in the order of their data, or nothing if the file breaks the format.
    static func read(_ file: [UInt8]) -> [Entry]? {
        try? entries(file)
    }

    private static func entries(_ file: [UInt8]) throws -> [Entry] {
        guard file.count >= 8 else { throw Refused() }
        var length: UInt64 = 0
        for place in (0..<8).reversed() { length = length * 256 + UInt64(file[place]) }
        guard length <= 100_000_000, Int(length) <= file.count - 8 else { throw Refused() }
        let header = file[8..<8 + Int(length)]
        guard let decoded = String(validating: header, as: UTF8.self) else { throw Refused() }
        var reader = TinyReader(text: Array(decoded.unicodeScalars))
        guard case .object(let pairs) = try reader.value(0), reader.rest().isEmpty else { throw Refused() }
        guard Set(pairs.map(\.key)).count == pairs.count else { throw Refused() }
        var found: [(Int, Entry)] = []
        for (order, pair) in pairs.enumerated() {
            if pair.key == Array("__metadata__".utf8) {
                try checkMetadata(pair.value)
            } else {
                found.append((order, try entry(pair.key, pair.value)))
            }
        }
        found.sort { ($0.1.begin, $0.1.end, $0.0) < ($1.1.begin, $1.1.end, $1.0) }
        var end: UInt64 = 0
        for (_, entry) in found {
            guard entry.begin == end else { throw Refused() }
            end = entry.end
        }
        guard end == UInt64(file.count - 8) - length else { throw Refused() }
        return found.map(\.1)
    }

    private static func checkMetadata(_ tree: Tree) throws {
        if case .other("null") = tree { return }
        guard case .object(let pairs) = tree, Set(pairs.map(\.key)).count == pairs.count else { throw Refused() }
        for pair in pairs { guard case .string = pair.value else { throw Refused() } }
    }

    private static func entry(_ name: [UInt8], _ tree: Tree) throws -> Entry {
        guard case .object(let pairs) = tree, pairs.count == 3 else { throw Refused() }
        func field(_ name: String) throws -> Tree {
            let found = pairs.filter { $0.key == Array(name.utf8) }
            guard found.count == 1 else { throw Refused() }
            return found[0].value
        }
        guard case .string(let dtype) = try field("dtype"), let bits = bits[String(decoding: dtype, as: UTF8.self)]
        else {
            throw Refused()
        }
        let shape = try numbers(field("shape"))
        let offsets = try numbers(field("data_offsets"))
        guard offsets.count == 2, offsets[0] <= offsets[1], shape.count <= 64 else { throw Refused() }
        let size = try size(shape, bits)
        guard offsets[1] - offsets[0] == size else { throw Refused() }
        return Entry(
            name: name, dtype: String(decoding: dtype, as: UTF8.self), shape: shape, begin: offsets[0], end: offsets[1])
    }

    /// Bytes of a shape; a tensor without elements has none, but its other sizes must be countable.
    static func size(_ shape: [UInt64], _ bits: UInt64) throws -> UInt64 {
        var total = UInt128(bits)
        for size in shape where size != 0 {
            total *= UInt128(size)
            if total > UInt128(Int64.max) { throw Refused() }
        }
        if shape.contains(0) { return 0 }
        guard total % 8 == 0 else { throw Refused() }
        return UInt64(total / 8)
    }

    private static func numbers(_ tree: Tree) throws -> [UInt64] {
        guard case .list(let items) = tree else { throw Refused() }
        return try items.map { item in
            guard case .number(let text) = item, let value = UInt64(text), value <= UInt64(Int64.max),
                text.unicodeScalars.allSatisfy({ ("0"..."9").contains($0) })
            else { throw Refused() }
            return value
        }
    }

    // MARK: JSON

    private init(text: [Unicode.Scalar]) { self.text = text }

    private mutating func rest() -> ArraySlice<Unicode.Scalar> {
        while at < text.count, [" ", "\n", "\r", "\t"].contains(text[at]) { at += 1 }
        return text[at...]
    }

    private mutating func take(_ word: String) -> Bool {
        guard rest().starts(with: word.unicodeScalars) else { return false }
        at += word.unicodeScalars.count
        return true
    }

    private mutating func value(_ depth: Int) throws -> Tree {
        // The parser under test never goes deeper than an entry's lists.
        guard depth < 4, let first = rest().first else { throw Refused() }
        switch first {
        case "\"": return .string(try string())
        case "{":
            at += 1
            var pairs: [(key: [UInt8], value: Tree)] = []
            if take("}") { return .object([]) }
            repeat {
                guard rest().first == "\"" else { throw Refused() }
                let key = try string()
                guard take(":") else { throw Refused() }
                pairs.append((key, try value(depth + 1)))
            } while take(",")
            guard take("}") else { throw Refused() }
            return .object(pairs)
        case "[":
            at += 1
            var items: [Tree] = []
            if take("]") { return .list([]) }
            repeat { items.append(try value(depth + 1)) } while take(",")
            guard take("]") else { throw Refused() }
            return .list(items)
        default:
            for word in ["null", "true", "false"] where take(word) { return .other(word) }
            return try number()
        }
    }

    private mutating func number() throws -> Tree {
        let pattern = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/
        var word = String.UnicodeScalarView()
        word.append(contentsOf: rest().prefix { "+-.0123456789eE".unicodeScalars.contains($0) })
        guard String(word).wholeMatch(of: pattern) != nil else { throw Refused() }
        at += word.count
        return .number(String(word))
    }

    private mutating func string() throws -> [UInt8] {
        at += 1
        var result = String.UnicodeScalarView()
        while at < text.count {
            let scalar = text[at]
            at += 1
            switch scalar {
            case "\"": return Array(String(result).utf8)
            case "\\":
                guard at < text.count else { throw Refused() }
                let escape = text[at]
                at += 1
                if escape == "u" {
                    result.append(try escaped())
                } else {
                    guard let place = Array("\"\\/bfnrt".unicodeScalars).firstIndex(of: escape) else { throw Refused() }
                    result.append(Array("\"\\/\u{8}\u{C}\n\r\t".unicodeScalars)[place])
                }
            case _ where scalar.value < 32: throw Refused()
            default: result.append(scalar)
            }
        }
        throw Refused()
    }

    private mutating func unit() throws -> UInt16 {
        guard at + 4 <= text.count else { throw Refused() }
        let digits = text[at..<at + 4]
        guard digits.allSatisfy({ $0.properties.isASCIIHexDigit }) else { throw Refused() }
        at += 4
        return UInt16(String(String.UnicodeScalarView(digits)), radix: 16) ?? 0
    }

    private mutating func escaped() throws -> Unicode.Scalar {
        let first = try unit()
        if !UTF16.isSurrogate(first) { return Unicode.Scalar(first) ?? "?" }
        guard UTF16.isLeadSurrogate(first), text[at...].starts(with: "\\u".unicodeScalars) else { throw Refused() }
        at += 2
        let second = try unit()
        guard UTF16.isTrailSurrogate(second) else { throw Refused() }
        return Unicode.Scalar(0x10000 + (UInt32(first) & 0x3FF) * 1024 + (UInt32(second) & 0x3FF)) ?? "?"
    }
}
