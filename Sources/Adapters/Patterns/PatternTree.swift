/// A regular expression in Python's syntax, as a tree.
///
/// Only whether it matches is ever asked, so groups and greed leave no trace in it.
indirect enum PatternTree {
    case empty
    case set(ScalarSet)
    case sequence([PatternTree])
    case choice([PatternTree])
    /// At least `least` times, and at most `most`, if there is a limit.
    case repeated(PatternTree, least: Int, most: Int?)
    case place(Place)
    case look(PatternTree, ahead: Bool, negative: Bool)

    /// What a place in the text must be.
    enum Place {
        case start, end, endOrLastNewline, wordBoundary, noWordBoundary
    }

    /// How many characters it matches, if that is always the same number: what Python demands of a look-behind.
    var width: Int? {
        switch self {
        case .empty, .place, .look: return 0
        case .set: return 1
        case .sequence(let parts):
            return parts.reduce(0) { sum, part in
                guard let sum, let width = part.width else { return nil }
                return sum + width
            }
        case .choice(let parts):
            let widths = Set(parts.map(\.width))
            return widths.count == 1 ? widths.first ?? nil : nil
        case .repeated(let part, let least, let most):
            guard let width = part.width else { return nil }
            return width == 0 ? 0 : least == most ? width * least : nil
        }
    }
}

/// A set of characters: ranges and classes, perhaps turned into its opposite.
struct ScalarSet {
    /// Python's `\d`, `\w`, `\s`, or any character but a line feed.
    enum Class {
        case digit, word, space, notNewline
    }

    var ranges: [ClosedRange<UInt32>] = []
    var classes: [(class: Class, isNegative: Bool)] = []
    var isNegative = false
    var ignoresCase = false

    func contains(_ scalar: Unicode.Scalar) -> Bool { holds(scalar) != isNegative }

    private func holds(_ scalar: Unicode.Scalar) -> Bool {
        if ranges.contains(where: { $0.contains(scalar.value) }) { return true }
        if classes.contains(where: { Self.holds($0.class, scalar) != $0.isNegative }) { return true }
        guard ignoresCase else { return false }
        let others = [scalar.properties.lowercaseMapping, scalar.properties.uppercaseMapping]
        return others.contains { text in
            guard let other = text.unicodeScalars.first, text.unicodeScalars.count == 1 else { return false }
            return ranges.contains { $0.contains(other.value) }
        }
    }

    static func holds(_ class: Class, _ scalar: Unicode.Scalar) -> Bool {
        switch `class` {
        case .digit: scalar.properties.numericType == .decimal
        case .word:
            scalar == "_" || scalar.properties.isAlphabetic || scalar.properties.numericType != nil
        case .space: scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
        case .notNewline: scalar != "\n"
        }
    }
}
