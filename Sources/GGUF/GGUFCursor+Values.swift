import Problems
import StrictJSON

extension GGUFCursor {
    /// The value of `key`: its type, then the value.
    mutating func value(of key: String) throws(Problem) -> GGUFValue {
        switch try code(key) {
        case .uint8: .uint8(try number(key))
        case .int8: .int8(try number(key))
        case .uint16: .uint16(try number(key))
        case .int16: .int16(try number(key))
        case .uint32: .uint32(try number(key))
        case .int32: .int32(try number(key))
        case .uint64: .uint64(try number(key))
        case .int64: .int64(try number(key))
        case .float32: .float32(Float(bitPattern: try number(key)))
        case .float64: .float64(Double(bitPattern: try number(key)))
        case .bool: .bool(try truth(key))
        case .string: .string(try string(Self.valueOf(key)))
        case .array: .array(try array(of: key, depth: 1))
        }
    }

    private static func valueOf(_ key: String) -> String { "the value of '\(key.excerpt)'" }

    private mutating func code(_ key: String) throws(Problem) -> GGUFValue.Code {
        let place = position
        let raw: UInt32 = try integer("the type of '\(key.excerpt)'")
        guard let code = GGUFValue.Code(rawValue: raw) else {
            throw bad("has metadata '\(key.excerpt)' of the unknown type \(raw)", at: place)
        }
        return code
    }

    private mutating func number<T: FixedWidthInteger>(_ key: String) throws(Problem) -> T {
        try integer(Self.valueOf(key))
    }

    private mutating func truth(_ key: String) throws(Problem) -> Bool {
        let place = position
        let byte: UInt8 = try number(key)
        guard byte <= 1 else {
            throw bad("has \(byte) for a truth value in '\(key.excerpt)', but 0 or 1 was needed", at: place)
        }
        return byte == 1
    }

    /// An array: the type of its elements, their number, and the elements.
    private mutating func array(of key: String, depth: Int) throws(Problem) -> GGUFArray {
        let place = position
        guard depth <= GGUFHeader.largestNesting else {
            throw bad(
                "has arrays in '\(key.excerpt)' nested more than \(GGUFHeader.largestNesting) deep", at: place)
        }
        let code = try code(key)
        let said: UInt64 = try integer("the length of '\(key.excerpt)'")
        try require(said, of: code.leastBytes, "the \(said) elements of '\(key.excerpt)'")
        let count = Int(said)
        switch code {
        case .uint8: return .uint8(try numbers(key, count))
        case .int8: return .int8(try numbers(key, count))
        case .uint16: return .uint16(try numbers(key, count))
        case .int16: return .int16(try numbers(key, count))
        case .uint32: return .uint32(try numbers(key, count))
        case .int32: return .int32(try numbers(key, count))
        case .uint64: return .uint64(try numbers(key, count))
        case .int64: return .int64(try numbers(key, count))
        case .float32: return .float32(try (numbers(key, count) as [UInt32]).map(Float.init(bitPattern:)))
        case .float64: return .float64(try (numbers(key, count) as [UInt64]).map(Double.init(bitPattern:)))
        case .bool:
            return .bool(try list(count) { (cursor) throws(Problem) in try cursor.truth(key) })
        case .string:
            return .string(
                try list(count) { (cursor) throws(Problem) in try cursor.string("an element of '\(key.excerpt)'") })
        case .array:
            return .array(
                try list(count) { (cursor) throws(Problem) in try cursor.array(of: key, depth: depth + 1) })
        }
    }

    private mutating func numbers<T: FixedWidthInteger>(_ key: String, _ count: Int) throws(Problem) -> [T] {
        try list(count) { (cursor) throws(Problem) in try cursor.number(key) }
    }

    /// `count` elements, which can be in the file.
    private mutating func list<T>(
        _ count: Int, _ element: (inout GGUFCursor) throws(Problem) -> T
    ) throws(Problem) -> [T] {
        var list: [T] = []
        list.reserveCapacity(count)
        for _ in 0..<count { list.append(try element(&self)) }
        return list
    }
}
