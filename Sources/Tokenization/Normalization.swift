/// NFC and NFD (Unicode Standard Annex 15) as the `tokenizers` library has them: of Unicode 9, whatever is newer stays.
enum Normalization {
    /// A form that is applied to text.
    enum Form: Sendable {
        case composed, decomposed
    }

    private struct Tables {
        /// By character: a combining class in the low byte, or that there is a decomposition.
        var classes: [UInt32: UInt8] = [:]
        var decompositions: [UInt32: [UInt32]] = [:]
        var compositions: [UInt64: UInt32] = [:]
        /// Whether any of 128 characters has one of these, or is part of a composition.
        var pages = [Bool](repeating: false, count: 0x110000 >> 7)

        init() {
            for row in Self.rows(Normalization.classTable) {
                let numbers = row.split { $0 == "-" || $0 == "=" }
                guard numbers.count == 3, let first = UInt32(numbers[0], radix: 16),
                    let last = UInt32(numbers[1], radix: 16), let value = UInt8(numbers[2]), first <= last
                else { continue }
                for scalar in first...last {
                    classes[scalar] = value
                    mark(scalar)
                }
            }
            for row in Self.rows(Normalization.singletonTable) { _ = add(row) }
            for row in Self.rows(Normalization.pairTable) {
                guard let (scalar, parts) = add(row), parts.count == 2 else { continue }
                compositions[UInt64(parts[0]) << 32 | UInt64(parts[1])] = scalar
                mark(parts[1])
            }
        }

        private static func rows(_ table: String) -> [Substring] {
            table.split { $0 == " " || $0 == "\n" }
        }

        private mutating func mark(_ scalar: UInt32) { pages[Int(scalar >> 7)] = true }

        private mutating func add(_ row: Substring) -> (UInt32, [UInt32])? {
            let numbers = row.split { $0 == "=" || $0 == "+" }.compactMap { UInt32($0, radix: 16) }
            guard numbers.count > 1 else { return nil }
            decompositions[numbers[0]] = Array(numbers.dropFirst())
            mark(numbers[0])
            return (numbers[0], Array(numbers.dropFirst()))
        }

        /// Whether normalization leaves a character as it is, wherever it stands.
        @inline(__always) func isInert(_ scalar: UInt32) -> Bool {
            // Hangul syllables and letters are computed, not in tables.
            !pages[Int(scalar >> 7)] && !(0xAC00..<0xD7A4).contains(scalar) && !(0x1100..<0x1200).contains(scalar)
        }
    }

    private static let tables = Tables()
    private static let (leads, vowels, tails): (UInt32, UInt32, UInt32) = (19, 21, 28)

    /// `text`, which is UTF-8, in a form.
    static func apply(_ form: Form, to text: [UInt8]) -> [UInt8] {
        let bytes = text.span
        let tables = tables
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var run: [UInt32] = []
        var at = 0
        while at < bytes.count {
            let width = UTF8Width.of(bytes[at])
            var scalar = UInt32(bytes[at])
            if width > 1 {
                scalar &= 0x7F >> UInt32(width)
                for next in 1..<width { scalar = scalar << 6 | UInt32(bytes[at + next] & 0x3F) }
            }
            at += width
            if tables.isInert(scalar) {
                flush(&run, form, into: &result)
                // It may be the first of a composition.
                if at < bytes.count, bytes[at] >= 0x80 {
                    run.append(scalar)
                } else {
                    append(scalar, to: &result)
                }
            } else {
                run.append(scalar)
            }
        }
        flush(&run, form, into: &result)
        return result
    }

    private static func append(_ scalar: UInt32, to text: inout [UInt8]) {
        if scalar < 0x80 {
            text.append(UInt8(truncatingIfNeeded: scalar))
        } else if let character = Unicode.Scalar(scalar) {
            text.append(contentsOf: character.utf8)
        }
    }

    /// Normalizes characters that nothing around them has to do with.
    private static func flush(_ run: inout [UInt32], _ form: Form, into result: inout [UInt8]) {
        guard !run.isEmpty else { return }
        defer { run.removeAll(keepingCapacity: true) }
        if run.count == 1, tables.isInert(run[0]) { return append(run[0], to: &result) }
        var parts: [UInt32] = []
        for scalar in run { decompose(scalar, into: &parts) }
        let classes = order(&parts)
        if form == .composed { compose(&parts, classes) }
        for scalar in parts { append(scalar, to: &result) }
    }

    private static func decompose(_ scalar: UInt32, into parts: inout [UInt32]) {
        if (0xAC00..<0xAC00 + leads * vowels * tails).contains(scalar) {
            let index = scalar - 0xAC00
            parts.append(0x1100 + index / (vowels * tails))
            parts.append(0x1161 + index % (vowels * tails) / tails)
            if index % tails != 0 { parts.append(0x11A7 + index % tails) }
        } else if let steps = tables.decompositions[scalar] {
            for step in steps { decompose(step, into: &parts) }
        } else {
            parts.append(scalar)
        }
    }

    /// Sorts each row of marks by class, those of one class as they were; the classes then.
    private static func order(_ parts: inout [UInt32]) -> [UInt8] {
        var classes = parts.map { tables.classes[$0] ?? 0 }
        var start = 0
        while start < parts.count {
            guard classes[start] != 0 else {
                start += 1
                continue
            }
            var end = start
            while end < parts.count, classes[end] != 0 { end += 1 }
            let marks = (start..<end).sorted { (classes[$0], $0) < (classes[$1], $1) }
            let (sorted, sortedClasses) = (marks.map { parts[$0] }, marks.map { classes[$0] })
            parts.replaceSubrange(start..<end, with: sorted)
            classes.replaceSubrange(start..<end, with: sortedClasses)
            start = end
        }
        return classes
    }

    /// Joins each starter with what follows it and is not blocked from it.
    private static func compose(_ parts: inout [UInt32], _ classes: [UInt8]) {
        var kept = 0
        var starter = -1
        var lastClass = 0
        for at in parts.indices {
            let scalar = parts[at]
            let own = Int(classes[at])
            // A mark is blocked by one of its class or a higher one, a starter by any mark.
            let isBlocked = starter >= 0 && kept > starter + 1 && lastClass >= own
            if starter >= 0, !isBlocked, let joined = composition(parts[starter], scalar) {
                parts[starter] = joined
                continue
            }
            if own == 0 { starter = kept }
            lastClass = own
            parts[kept] = scalar
            kept += 1
        }
        parts.removeLast(parts.count - kept)
    }

    private static func composition(_ first: UInt32, _ second: UInt32) -> UInt32? {
        if (0x1100..<0x1100 + leads).contains(first), (0x1161..<0x1161 + vowels).contains(second) {
            return 0xAC00 + ((first - 0x1100) * vowels + second - 0x1161) * tails
        }
        if (0xAC00..<0xAC00 + leads * vowels * tails).contains(first), (first - 0xAC00) % tails == 0,
            (0x11A8..<0x11A7 + tails).contains(second)
        {
            return first + second - 0x11A7
        }
        return tables.compositions[UInt64(first) << 32 | UInt64(second)]
    }
}
