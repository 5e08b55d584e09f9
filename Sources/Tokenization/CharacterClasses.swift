/// What Rust's `regex` and `char` say of characters, where the library asks them and not Oniguruma.
enum CharacterClasses {
    /// `\w` of the `regex` crate: alphabetic characters, marks, decimal digits, connectors, joiners.
    static func isWord(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII {
            let letter = scalar.value | 0x20
            return (0x61...0x7A).contains(letter) || (0x30...0x39).contains(scalar.value) || scalar == "_"
        }
        // The crate's tables are of Unicode 16.
        guard let age = scalar.properties.age, age.major <= 16 else { return false }
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation: return true
        default: return scalar.properties.isAlphabetic || scalar.properties.isJoinControl
        }
    }

    /// White space, both to `regex` and to `char`.
    static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x09...0x0D, 0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
        default: false
        }
    }

    /// `char::is_numeric`: any number, not only decimal digits.
    static func isNumeric(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII { return (0x30...0x39).contains(scalar.value) }
        switch scalar.properties.generalCategory {
        case .decimalNumber, .letterNumber, .otherNumber: return true
        default: return false
        }
    }

    /// The character that begins at `at` in valid UTF-8, and where the next one begins.
    static func scalar(_ bytes: borrowing Span<UInt8>, at: Int) -> (Unicode.Scalar, next: Int) {
        let width = UTF8Width.of(bytes[at])
        var value = UInt32(bytes[at])
        if width > 1 {
            value &= 0x7F >> UInt32(width)
            for next in 1..<width { value = value << 6 | UInt32(bytes[at + next] & 0x3F) }
        }
        return (Unicode.Scalar(value) ?? "\u{FFFD}", at + width)
    }

    /// Where the character begins that ends at `end`.
    static func start(_ bytes: borrowing Span<UInt8>, before end: Int) -> Int {
        var at = end - 1
        while at > 0, bytes[at] & 0xC0 == 0x80 { at -= 1 }
        return at
    }
}
