import Problems

/// A cursor over the bytes of a JSON document (RFC 8259), strict and linear.
///
/// It refuses what readers disagree on: invalid UTF-8, lone surrogates, a byte order mark, leading zeros, control
/// characters in strings. It never recurses; whoever builds values bounds the depth.
public struct JSONReader: ~Copyable {
    let bytes: [UInt8]
    /// How many bytes have been read.
    public internal(set) var position = 0
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
    @inline(__always) public mutating func peek() -> UInt8? {
        while position < bytes.count {
            let byte = bytes[position]
            if byte > 0x20 || byte != 0x20 && byte != 0x0A && byte != 0x0D && byte != 0x09 { return byte }
            position += 1
        }
        return nil
    }

    /// Reads `character`, which must come next.
    public mutating func expect(_ character: Unicode.Scalar) throws(Problem) {
        guard take(character) else { throw problem("syntax", "found \(found), but '\(character)' was needed") }
    }

    /// Reads `character` if it comes next.
    public mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard let byte = peek(), byte == UInt8(truncatingIfNeeded: character.value) else { return false }
        position += 1
        return true
    }

    /// Reads `word` if it comes next, as a whole.
    public mutating func take(word: String) -> Bool {
        guard peek() != nil, bytes[position...].starts(with: word.utf8) else { return false }
        let end = position + word.utf8.count
        if end < bytes.count, Self.continuesWord(bytes[end]) { return false }
        position = end
        return true
    }

    private static func continuesWord(_ byte: UInt8) -> Bool {
        isDigit(byte) || (0x41...0x5A).contains(byte & 0xDF) || byte == UInt8(ascii: "_")
    }

    /// Refuses a byte order mark, which some programs put before a document.
    public func expectNoByteOrderMark() throws(Problem) {
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) {
            throw problem("bom", "begins with a byte order mark, which JSON does not have", at: 0)
        }
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

    // MARK: Numbers

    /// Reads a number and keeps its text.
    public mutating func number() throws(Problem) -> JSONNumber {
        _ = peek()
        let start = position
        takeOne(of: UInt8(ascii: "-"))
        let first = position
        try digits()
        if bytes[first] == UInt8(ascii: "0"), position > first + 1 {
            throw problem("number", "has a number with a leading zero", at: start)
        }
        if takeOne(of: UInt8(ascii: ".")) { try digits() }
        if takeOne(of: UInt8(ascii: "e"), UInt8(ascii: "E")) {
            takeOne(of: UInt8(ascii: "+"), UInt8(ascii: "-"))
            try digits()
        }
        return JSONNumber(text: try text(start..<position))
    }

    @discardableResult private mutating func takeOne(of a: UInt8, _ b: UInt8? = nil) -> Bool {
        guard position < bytes.count, bytes[position] == a || bytes[position] == b else { return false }
        position += 1
        return true
    }

    private mutating func digits() throws(Problem) {
        let start = position
        while position < bytes.count, Self.isDigit(bytes[position]) { position += 1 }
        guard position > start else { throw problem("number", "found \(found), but a digit was needed") }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 <= 9 }

    /// Reads a non-negative whole number without fraction or exponent.
    public mutating func unsigned() throws(Problem) -> Int {
        _ = peek()
        let start = position
        var at = start
        var value = 0
        while at < bytes.count, Self.isDigit(bytes[at]) {
            let (product, tooLarge) = value.multipliedReportingOverflow(by: 10)
            let (sum, alsoTooLarge) = product.addingReportingOverflow(Int(bytes[at] - 0x30))
            if tooLarge || alsoTooLarge { throw try notUnsigned() }
            value = sum
            at += 1
        }
        let next = at < bytes.count ? bytes[at] : 0
        let isPlain = next != UInt8(ascii: ".") && next | 0x20 != UInt8(ascii: "e")
        guard at > start, isPlain, bytes[start] != UInt8(ascii: "0") || at == start + 1 else { throw try notUnsigned() }
        position = at
        return value
    }

    private mutating func notUnsigned() throws(Problem) -> Problem {
        let start = position
        let text = try number().text.excerpt
        return problem("number", "has \(text) where a whole number from 0 to \(Int.max) was needed", at: start)
    }
}
