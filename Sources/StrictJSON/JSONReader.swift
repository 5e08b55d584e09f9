import Problems

/// A cursor over the bytes of a JSON document (RFC 8259), strict and linear.
///
/// It refuses what readers disagree on: invalid UTF-8, lone surrogates, a byte order mark, leading zeros, control
/// characters in strings. It never recurses; whoever builds values bounds the depth.
public struct JSONReader: ~Copyable {
    private let bytes: [UInt8]
    /// How many bytes have been read.
    public private(set) var position = 0
    /// Added to positions in messages, for a document that lies inside a file.
    private let base: Int

    /// Begins at the first byte; `base` is where that byte is in its file.
    public init(_ bytes: [UInt8], base: Int = 0) {
        self.bytes = bytes
        self.base = base
    }

    /// The problem `message` at a position of the document, by default the current one.
    public func problem(_ code: String, _ message: String, at place: Int? = nil) -> Problem {
        Problem(.malformed, "json-\(code)", message, offset: base + (place ?? position))
    }

    /// Skips white space; the next byte, or `nil` at the end.
    public mutating func peek() -> UInt8? {
        while position < bytes.count {
            let byte = bytes[position]
            if byte != 0x20 && byte != 0x0A && byte != 0x0D && byte != 0x09 { return byte }
            position += 1
        }
        return nil
    }

    /// Reads `character`, which must come next.
    public mutating func expect(_ character: Unicode.Scalar) throws(Problem) {
        guard let byte = peek(), byte == UInt8(ascii: character) else {
            throw problem("syntax", "found \(found), but '\(character)' was needed")
        }
        position += 1
    }

    /// Reads `character` if it comes next.
    public mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard let byte = peek(), byte == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    /// Nothing but white space may be left.
    public mutating func expectEnd() throws(Problem) {
        if peek() != nil { throw problem("trailing", "found \(found) after the end of the JSON document") }
    }

    /// The next byte in words.
    public var found: String {
        guard position < bytes.count else { return "the end" }
        let byte = bytes[position]
        return (0x21...0x7E).contains(byte) ? "'\(Unicode.Scalar(byte))'" : "byte 0x\(String(byte, radix: 16))"
    }

    // MARK: Strings

    /// Reads a string.
    public mutating func string() throws(Problem) -> String {
        try expect("\"")
        let start = position
        while position < bytes.count {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\"") {
                let result = try utf8(start..<position)
                position += 1
                return result
            }
            if byte == UInt8(ascii: "\\") { return try escapedString(from: start) }
            guard byte >= 0x20 else { throw problem("control", "has a control character inside a string") }
            position += 1
        }
        throw problem("end", "ends inside a string")
    }

    private func utf8(_ range: Range<Int>) throws(Problem) -> String {
        guard let text = String(validating: bytes[range], as: UTF8.self) else {
            throw problem("utf8", "has bytes in a string that are not UTF-8", at: range.lowerBound)
        }
        return text
    }

    private mutating func escapedString(from start: Int) throws(Problem) -> String {
        var result = Array(bytes[start..<position])
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let text = String(validating: result, as: UTF8.self) else {
                    throw problem("utf8", "has bytes in a string that are not UTF-8", at: start)
                }
                return text
            case UInt8(ascii: "\\"): try escape(into: &result)
            case ..<0x20: throw problem("control", "has a control character inside a string", at: position - 1)
            default: result.append(byte)
            }
        }
        throw problem("end", "ends inside a string")
    }

    private mutating func escape(into result: inout [UInt8]) throws(Problem) {
        guard position < bytes.count else { throw problem("end", "ends inside a string") }
        let byte = bytes[position]
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): result.append(byte)
        case UInt8(ascii: "b"): result.append(0x08)
        case UInt8(ascii: "f"): result.append(0x0C)
        case UInt8(ascii: "n"): result.append(0x0A)
        case UInt8(ascii: "r"): result.append(0x0D)
        case UInt8(ascii: "t"): result.append(0x09)
        case UInt8(ascii: "u"): result += String(try unicode()).utf8
        default: throw problem("escape", "has an unknown escape in a string", at: position - 2)
        }
    }

    private mutating func unicode() throws(Problem) -> Unicode.Scalar {
        let start = position - 2
        let first = try hexadecimal()
        if let scalar = Unicode.Scalar(first) { return scalar }
        guard first < 0xDC00, position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
            bytes[position + 1] == UInt8(ascii: "u")
        else { throw problem("surrogate", "has half of a surrogate pair in a string", at: start) }
        position += 2
        let second = try hexadecimal()
        guard (0xDC00...0xDFFF).contains(second),
            let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
        else { throw problem("surrogate", "has half of a surrogate pair in a string", at: start) }
        return scalar
    }

    private mutating func hexadecimal() throws(Problem) -> UInt32 {
        guard position + 4 <= bytes.count else { throw problem("end", "ends inside a string") }
        var value: UInt32 = 0
        for _ in 0..<4 {
            let byte = bytes[position]
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
                throw problem("escape", "has a \\u escape without four hexadecimal digits")
            }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }

    // MARK: Numbers and words

    /// Reads a number and keeps its text.
    public mutating func number() throws(Problem) -> JSONNumber {
        _ = peek()
        let start = position
        if position < bytes.count, bytes[position] == UInt8(ascii: "-") { position += 1 }
        let first = position
        try digits()
        if bytes[first] == UInt8(ascii: "0"), position > first + 1 {
            throw problem("number", "has a number with a leading zero", at: start)
        }
        if position < bytes.count, bytes[position] == UInt8(ascii: ".") {
            position += 1
            try digits()
        }
        if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
            position += 1
            if position < bytes.count, bytes[position] == UInt8(ascii: "+") || bytes[position] == UInt8(ascii: "-") {
                position += 1
            }
            try digits()
        }
        return JSONNumber(text: String(decoding: bytes[start..<position], as: UTF8.self))
    }

    private mutating func digits() throws(Problem) {
        let start = position
        while position < bytes.count, (0x30...0x39).contains(bytes[position]) { position += 1 }
        guard position > start else { throw problem("number", "found \(found), but a digit was needed") }
    }

    /// Reads a non-negative whole number without fraction or exponent.
    public mutating func unsigned() throws(Problem) -> Int {
        _ = peek()
        let start = position
        let parsed = try number()
        guard let value = parsed.int, value >= 0, !parsed.text.hasPrefix("-") else {
            throw problem("number", "has \(parsed.text) where a whole number from 0 to \(Int.max) was needed", at: start)
        }
        return value
    }

    /// Reads `word` if it comes next, as a whole.
    public mutating func take(word: String) -> Bool {
        guard peek() != nil, bytes[position...].starts(with: word.utf8) else { return false }
        let end = position + word.utf8.count
        if end < bytes.count, (0x30...0x39).contains(bytes[end]) || (0x41...0x5A).contains(bytes[end] & 0xDF) { return false }
        position = end
        return true
    }
}
