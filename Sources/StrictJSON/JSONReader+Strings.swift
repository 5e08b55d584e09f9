import Problems

extension JSONReader {
    /// Reads a string.
    public mutating func string() throws(Problem) -> String {
        if let range = try plainString() { return try text(range) }
        return try escapedString()
    }

    /// Reads a string that has no escapes and tells where its bytes are, which may not be UTF-8.
    ///
    /// - Returns: `nil` if the string has escapes; it is still to be read then.
    package mutating func plainString() throws(Problem) -> Range<Int>? {
        try expect("\"")
        let start = position
        var at = start
        while at < bytes.count {
            let byte = bytes[at]
            if byte == UInt8(ascii: "\"") {
                position = at + 1
                return start..<at
            }
            if byte == UInt8(ascii: "\\") {
                position = start - 1
                return nil
            }
            if byte < 0x20 { throw control(at) }
            at += 1
        }
        throw problem("end", "ends inside a string", at: at)
    }

    /// The bytes there as text.
    package func text(_ range: Range<Int>) throws(Problem) -> String {
        do {
            return String(copying: try UTF8Span(validating: bytes.span.extracting(range)))
        } catch {
            throw invalid(at: range.lowerBound + error.byteOffsets.lowerBound)
        }
    }

    /// Whether the bytes there are those of `word`.
    package func matches(_ range: Range<Int>, _ word: [UInt8]) -> Bool {
        guard range.count == word.count else { return false }
        for at in 0..<word.count where bytes[range.lowerBound + at] != word[at] { return false }
        return true
    }

    /// Whether the bytes there and there are the same.
    package func sameBytes(_ a: Range<Int>, _ b: Range<Int>) -> Bool {
        guard a.count == b.count else { return false }
        for at in 0..<a.count where bytes[a.lowerBound + at] != bytes[b.lowerBound + at] { return false }
        return true
    }

    private func invalid(at place: Int) -> Problem {
        problem("utf8", "has bytes in a string that are not UTF-8", at: place)
    }

    private func control(_ place: Int) -> Problem {
        problem("control", "has a control character inside a string, where it must be escaped", at: place)
    }

    private mutating func escapedString() throws(Problem) -> String {
        let start = position
        position += 1
        var result: [UInt8] = []
        while position < bytes.count {
            let byte = bytes[position]
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                do {
                    return String(copying: try UTF8Span(validating: result.span))
                } catch {
                    throw invalid(at: start)
                }
            case UInt8(ascii: "\\"): try escape(into: &result)
            case ..<0x20: throw control(position)
            default:
                result.append(byte)
                position += 1
            }
        }
        throw problem("end", "ends inside a string")
    }

    private mutating func escape(into result: inout [UInt8]) throws(Problem) {
        let start = position
        guard start + 1 < bytes.count else { throw problem("end", "ends inside a string", at: bytes.count) }
        let byte = bytes[start + 1]
        position += 2
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): result.append(byte)
        case UInt8(ascii: "b"): result.append(0x08)
        case UInt8(ascii: "f"): result.append(0x0C)
        case UInt8(ascii: "n"): result.append(0x0A)
        case UInt8(ascii: "r"): result.append(0x0D)
        case UInt8(ascii: "t"): result.append(0x09)
        case UInt8(ascii: "u"): Self.append(try unicode(start), to: &result)
        default: throw problem("escape", "has an unknown escape in a string", at: start)
        }
    }

    private static func append(_ scalar: Unicode.Scalar, to result: inout [UInt8]) {
        if scalar.isASCII {
            result.append(UInt8(truncatingIfNeeded: scalar.value))
        } else {
            result.append(contentsOf: scalar.utf8)
        }
    }

    /// The scalar whose escape begins at `start`; the cursor is behind its `u`.
    private mutating func unicode(_ start: Int) throws(Problem) -> Unicode.Scalar {
        let first = try hexadecimal(start)
        if let scalar = Unicode.Scalar(first) { return scalar }
        guard first < 0xDC00, position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
            bytes[position + 1] == UInt8(ascii: "u")
        else { throw surrogate(start) }
        position += 2
        let second = try hexadecimal(position - 2)
        guard (0xDC00...0xDFFF).contains(second),
            let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
        else { throw surrogate(start) }
        return scalar
    }

    private func surrogate(_ place: Int) -> Problem {
        problem("surrogate", "has half of a surrogate pair in a string", at: place)
    }

    private mutating func hexadecimal(_ start: Int) throws(Problem) -> UInt32 {
        guard position + 4 <= bytes.count else { throw problem("end", "ends inside a string", at: bytes.count) }
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = Self.hexadecimalDigit(bytes[position]) else {
                throw problem("escape", "has a \\u escape without four hexadecimal digits", at: start)
            }
            value = value << 4 | digit
            position += 1
        }
        return value
    }

    private static func hexadecimalDigit(_ byte: UInt8) -> UInt32? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(byte - UInt8(ascii: "a") + 10)
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(byte - UInt8(ascii: "A") + 10)
        default: nil
        }
    }
}
