/// Reads regular expressions as Python's `re` does; what needs more than a finite automaton is refused.
struct PatternParser {
    /// Why a pattern cannot be read.
    struct Failure: Error {}

    private static let deepest = 64
    private static let mostRepetitions = 1000

    private let text: [Unicode.Scalar]
    private var at = 0
    private var depth = 0
    private var ignoresCase = false
    private var dotTakesAll = false

    private init(_ text: String) { self.text = Array(text.unicodeScalars) }

    /// The tree of `text`.
    static func parse(_ text: String) throws(Failure) -> PatternTree {
        var parser = PatternParser(text)
        let tree = try parser.choice()
        guard parser.at == parser.text.count else { throw Failure() }
        return tree
    }

    private var next: Unicode.Scalar? { at < text.count ? text[at] : nil }

    private mutating func take(_ expected: String) -> Bool {
        let scalars = Array(expected.unicodeScalars)
        guard at + scalars.count <= text.count, text[at..<at + scalars.count].elementsEqual(scalars) else {
            return false
        }
        at += scalars.count
        return true
    }

    private mutating func choice() throws(Failure) -> PatternTree {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.deepest else { throw Failure() }
        var parts = [try sequence()]
        while take("|") { parts.append(try sequence()) }
        return parts.count == 1 ? parts[0] : .choice(parts)
    }

    private mutating func sequence() throws(Failure) -> PatternTree {
        var parts: [PatternTree] = []
        while let scalar = next, scalar != "|", scalar != ")" {
            guard let item = try item() else { continue }
            parts.append(try repetition(of: item))
        }
        return parts.count == 1 ? parts[0] : parts.isEmpty ? .empty : .sequence(parts)
    }

    /// One thing that may be repeated; `nil` for what only says something about the rest.
    private mutating func item() throws(Failure) -> PatternTree? {
        guard let scalar = next else { throw Failure() }
        at += 1
        switch scalar {
        case "(": return try group()
        case "[": return .set(try set())
        case "\\": return try escape()
        case ".": return .set(ScalarSet(classes: dotTakesAll ? [] : [(.notNewline, false)], isNegative: dotTakesAll))
        case "^": return .place(.start)
        case "$": return .place(.endOrLastNewline)
        case "*", "+", "?": throw Failure()
        default: return .set(one(scalar))
        }
    }

    private func one(_ scalar: Unicode.Scalar) -> ScalarSet {
        ScalarSet(ranges: [scalar.value...scalar.value], ignoresCase: ignoresCase)
    }

    // MARK: Repetition

    private mutating func repetition(of item: PatternTree) throws(Failure) -> PatternTree {
        guard let (least, most) = try bounds() else { return item }
        if case .place = item { throw Failure() }
        // Lazy or greedy is the same to us; possessive is not.
        if next == "+" { throw Failure() }
        _ = take("?")
        if let scalar = next, "*+?".unicodeScalars.contains(scalar) { throw Failure() }
        if next == "{" {
            let start = at
            guard try bounds() == nil else { throw Failure() }
            at = start
        }
        return .repeated(item, least: least, most: most)
    }

    private mutating func bounds() throws(Failure) -> (Int, Int?)? {
        if take("*") { return (0, nil) }
        if take("+") { return (1, nil) }
        if take("?") { return (0, 1) }
        let start = at
        guard take("{") else { return nil }
        let first = number()
        var last = first
        let isRange = take(",")
        if isRange { last = number() }
        guard take("}"), first != nil || isRange else {
            at = start
            // A brace that bounds nothing is a brace.
            return nil
        }
        let most = isRange ? last : first
        let least = first ?? 0
        guard least <= Self.mostRepetitions, most.map({ $0 >= least && $0 <= Self.mostRepetitions }) ?? true else {
            throw Failure()
        }
        return (least, most)
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let scalar = next, ("0"..."9").contains(scalar) {
            value = min(1_000_000, (value ?? 0) * 10 + Int(scalar.value - 0x30))
            at += 1
        }
        return value
    }

    // MARK: Groups

    private mutating func group() throws(Failure) -> PatternTree? {
        let (oldCase, oldDot) = (ignoresCase, dotTakesAll)
        var look: (ahead: Bool, negative: Bool)?
        if take("?") {
            if take("#") {
                while let scalar = next, scalar != ")" { at += 1 }
                guard take(")") else { throw Failure() }
                return nil
            }
            if take("P<") {
                guard let first = next, first.properties.isAlphabetic || first == "_" else { throw Failure() }
                while let scalar = next, ScalarSet.holds(.word, scalar) { at += 1 }
                guard take(">") else { throw Failure() }
            } else if take("=") {
                look = (true, false)
            } else if take("!") {
                look = (true, true)
            } else if take("<=") {
                look = (false, false)
            } else if take("<!") {
                look = (false, true)
            } else if !take(":") {
                guard try flags() else { return nil }
            }
        }
        let inner = try choice()
        guard take(")") else { throw Failure() }
        (ignoresCase, dotTakesAll) = (oldCase, oldDot)
        guard let look else { return inner }
        if !look.ahead, inner.width == nil { throw Failure() }
        return .look(inner, ahead: look.ahead, negative: look.negative)
    }

    /// `(?i)` at the very beginning holds for all, `(?i:...)` for a group; whether a group follows.
    private mutating func flags() throws(Failure) -> Bool {
        let isStart = at == 2
        var isOn = true
        var isEmpty = true
        while let scalar = next {
            at += 1
            switch scalar {
            case "i": ignoresCase = isOn
            case "s": dotTakesAll = isOn
            case "u": break
            case "-" where isOn: isOn = false
            case ":" where !isEmpty: return true
            case ")" where !isEmpty && isOn && isStart: return false
            default: throw Failure()
            }
            isEmpty = false
        }
        throw Failure()
    }

    // MARK: Escapes and sets

    private mutating func escape() throws(Failure) -> PatternTree {
        guard let scalar = next else { throw Failure() }
        switch scalar {
        case "A", "Z", "b", "B":
            at += 1
            return .place(
                scalar == "A" ? .start : scalar == "Z" ? .end : scalar == "b" ? .wordBoundary : .noWordBoundary)
        // A reference to a group is more than a finite automaton can follow.
        case "1"..."9": throw Failure()
        default: break
        }
        if let named = classEscape() { return .set(ScalarSet(classes: [named])) }
        return .set(one(try literalEscape()))
    }

    private mutating func classEscape() -> (class: ScalarSet.Class, isNegative: Bool)? {
        let found: (ScalarSet.Class, Bool)? =
            switch next {
            case "d": (.digit, false)
            case "D": (.digit, true)
            case "w": (.word, false)
            case "W": (.word, true)
            case "s": (.space, false)
            case "S": (.space, true)
            default: nil
            }
        if found != nil { at += 1 }
        return found
    }

    private mutating func literalEscape() throws(Failure) -> Unicode.Scalar {
        guard let scalar = next else { throw Failure() }
        at += 1
        switch scalar {
        case "n": return "\n"
        case "t": return "\t"
        case "r": return "\r"
        case "f": return "\u{0C}"
        case "v": return "\u{0B}"
        case "a": return "\u{07}"
        case "0": return try code(digits: 0...2, radix: 8)
        case "x": return try code(digits: 2...2, radix: 16)
        case "u": return try code(digits: 4...4, radix: 16)
        case "U": return try code(digits: 8...8, radix: 16)
        default:
            // Python refuses letters that mean nothing.
            if scalar.isASCII, scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) { throw Failure() }
            return scalar
        }
    }

    private mutating func code(digits: ClosedRange<Int>, radix: Int) throws(Failure) -> Unicode.Scalar {
        var value: UInt32 = 0
        var count = 0
        while count < digits.upperBound, let scalar = next, let digit = Int(String(scalar), radix: radix) {
            value = value * UInt32(radix) + UInt32(digit)
            (at, count) = (at + 1, count + 1)
        }
        guard count >= digits.lowerBound, let scalar = Unicode.Scalar(value) else { throw Failure() }
        return scalar
    }

    private mutating func set() throws(Failure) -> ScalarSet {
        var set = ScalarSet(ignoresCase: ignoresCase)
        set.isNegative = take("^")
        var isFirst = true
        while true {
            guard let scalar = next else { throw Failure() }
            if scalar == "]", !isFirst {
                at += 1
                return set
            }
            isFirst = false
            guard let low = try member(of: &set) else { continue }
            guard next == "-", at + 1 < text.count, text[at + 1] != "]" else {
                set.ranges.append(low.value...low.value)
                continue
            }
            at += 1
            guard let high = try member(of: &set), low <= high else { throw Failure() }
            set.ranges.append(low.value...high.value)
        }
    }

    /// One character in a set; `nil` for a class, which is added.
    private mutating func member(of set: inout ScalarSet) throws(Failure) -> Unicode.Scalar? {
        guard let scalar = next else { throw Failure() }
        at += 1
        guard scalar == "\\" else { return scalar }
        if next == "b" {
            at += 1
            return "\u{08}"
        }
        if let named = classEscape() {
            set.classes.append(named)
            return nil
        }
        return try literalEscape()
    }
}
