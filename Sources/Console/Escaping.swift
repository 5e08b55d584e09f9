/// Makes text from a file safe to show: what could steer a terminal or reorder a line becomes `\u{1B}`.
///
/// Control characters (C0, DEL, C1), line and paragraph separators, marks and overrides of writing direction,
/// invisible tags and noncharacters are escaped; everything else stays.
public func escaped(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: \.isTreacherous) else { return text }
    var result = ""
    for scalar in text.unicodeScalars {
        if scalar.isTreacherous {
            result += "\\u{" + String(scalar.value, radix: 16, uppercase: true) + "}"
        } else {
            result.unicodeScalars.append(scalar)
        }
    }
    return result
}

extension Unicode.Scalar {
    /// Whether showing this scalar as it is could mislead a reader or a terminal.
    var isTreacherous: Bool {
        switch value {
        case 0x20...0x7E: false
        case 0...0x9F: true
        case 0x061C, 0x200E, 0x200F, 0x2028...0x202E, 0x2066...0x2069, 0xFEFF, 0xFFF9...0xFFFB: true
        case 0xE0000...0xE007F: true
        default: value & 0xFFFE == 0xFFFE
        }
    }

    /// The columns a terminal gives this scalar: 0 for what combines, 2 for East Asian wide ones.
    var columns: Int {
        switch value {
        case 0..<0x300: 1
        case 0x300...0x36F, 0x200B...0x200D, 0x20D0...0x20FF, 0xFE00...0xFE0F: 0
        case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF: 2
        case 0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F900...0x1F9FF: 2
        case 0x20000...0x3FFFD: 2
        default: 1
        }
    }
}

extension String {
    /// The columns a terminal gives this text.
    var columns: Int { unicodeScalars.reduce(0) { $0 + $1.columns } }

    /// This text with spaces after it, up to `width` columns.
    func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - columns)) }

    /// This text with spaces before it, up to `width` columns.
    func aligned(to width: Int) -> String { String(repeating: " ", count: max(0, width - columns)) + self }

    /// This text in at most `width` columns: what is too much is taken from the middle, where names differ least.
    func shortened(to width: Int) -> String {
        guard columns > width else { return self }
        guard width > 1 else { return width == 1 ? "…" : "" }
        // The end tells more than the beginning: `…q_proj.lora_A.weight`.
        let head = Self.prefix(of: unicodeScalars, columns: (width - 1) / 2)
        let tail = Self.prefix(of: unicodeScalars.reversed(), columns: width - 1 - (width - 1) / 2)
        return Self.text(head) + "…" + Self.text(tail.reversed())
    }

    /// This text in at most `width` columns: what is too much is taken from the beginning.
    func shortenedAtStart(to width: Int) -> String {
        guard columns > width else { return self }
        guard width > 1 else { return width == 1 ? "…" : "" }
        return "…" + Self.text(Self.prefix(of: unicodeScalars.reversed(), columns: width - 1).reversed())
    }

    private static func prefix(of scalars: some Sequence<Unicode.Scalar>, columns: Int) -> [Unicode.Scalar] {
        var used = 0
        return Array(
            scalars.prefix { scalar in
                used += scalar.columns
                return used <= columns
            })
    }

    private static func text(_ scalars: [Unicode.Scalar]) -> String {
        var text = ""
        text.unicodeScalars.append(contentsOf: scalars)
        return text
    }

    /// The text with every occurrence of `old` replaced.
    func replacing(_ old: Character, with new: String) -> String {
        contains(old) ? split(separator: old, omittingEmptySubsequences: false).joined(separator: new) : self
    }
}
