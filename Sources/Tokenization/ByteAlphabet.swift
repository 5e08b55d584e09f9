/// The 256 printable characters that byte-level vocabularies write for bytes (GPT-2's `bytes_to_unicode`).
///
/// Bytes that are printable in Latin-1 stand for themselves; the others, in order, are U+0100 and on.
enum ByteAlphabet {
    /// The character of each byte; all are below U+0144.
    static let scalars: [UInt16] = {
        var next: UInt16 = 0x100
        return (0...255).map { byte -> UInt16 in
            if (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || byte >= 0xAE { return UInt16(byte) }
            next += 1
            return next - 1
        }
    }()

    /// The byte of each character below U+0144; -1 where there is none.
    private static let bytes: [Int16] = {
        var result = [Int16](repeating: -1, count: 0x144)
        for (byte, scalar) in scalars.enumerated() { result[Int(scalar)] = Int16(byte) }
        return result
    }()

    /// Appends, in UTF-8, the character of `byte`.
    @inline(__always) static func append(_ byte: UInt8, to text: inout [UInt8]) {
        let scalar = scalars[Int(byte)]
        if scalar < 0x80 {
            text.append(UInt8(truncatingIfNeeded: scalar))
        } else {
            text.append(UInt8(truncatingIfNeeded: 0xC0 | scalar >> 6))
            text.append(UInt8(truncatingIfNeeded: 0x80 | scalar & 0x3F))
        }
    }

    /// The bytes that `token` stands for; `nil` if it has a character that stands for none.
    static func decode(_ token: borrowing Span<UInt8>) -> [UInt8]? {
        var result: [UInt8] = []
        result.reserveCapacity(token.count)
        var at = 0
        while at < token.count {
            let first = token[at]
            var scalar = Int(first)
            if first >= 0x80 {
                guard first < 0xE0, at + 1 < token.count else { return nil }
                scalar = Int(first & 0x1F) << 6 | Int(token[at + 1] & 0x3F)
                at += 1
            }
            guard scalar < bytes.count, bytes[scalar] >= 0 else { return nil }
            result.append(UInt8(truncatingIfNeeded: bytes[scalar]))
            at += 1
        }
        return result
    }
}
