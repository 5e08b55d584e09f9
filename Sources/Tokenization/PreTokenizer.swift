import Problems

/// The stages of `pre_tokenizer`: cut text into words, which are then bytes to the model.
struct PreTokenizer: Sendable {
    /// What becomes of the matches of a `Split`.
    enum Behaviour: String, Sendable {
        case removed = "Removed"
        case isolated = "Isolated"
        case mergedWithPrevious = "MergedWithPrevious"
        case mergedWithNext = "MergedWithNext"
        case contiguous = "Contiguous"
    }

    /// One of the stages.
    enum Stage: Sendable {
        /// `Split`; stand-ins only where characters are told by their classes.
        case split(Expression, Behaviour, isInverted: Bool, usesStandIns: Bool)
        /// `Digits`.
        case digits(Behaviour)
        /// `ByteLevel` before its bytes become characters.
        case byteLevel(addsSpace: Bool, Expression?)
    }

    /// GPT-2's expression, which `ByteLevel` has built in.
    static let byteLevelPattern =
        #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

    /// Up to `ByteLevel`.
    var stages: [Stage] = []
    /// Behind `ByteLevel`: they see the characters that stand for bytes.
    var lateStages: [Stage] = []

    /// Text and the words in it, in order.
    struct Words {
        var text: [UInt8]
        var ranges: [Range<Int>]
    }

    /// Cuts `text`, which is UTF-8 and not empty.
    func words(_ text: [UInt8], _ search: Expression.Search) throws(Problem) -> Words {
        var words = Words(text: text, ranges: [0..<text.count])
        try Self.run(stages, on: &words, search)
        guard !lateStages.isEmpty else { return words }
        var mapped = Self.mapped(words)
        try Self.run(lateStages, on: &mapped, search)
        return Self.unmapped(mapped)
    }

    private static func run(
        _ stages: [Stage], on words: inout Words, _ search: Expression.Search
    ) throws(Problem) {
        var standIns: [UInt8]??
        for stage in stages {
            switch stage {
            case .split(let expression, let behaviour, let isInverted, let usesStandIns):
                if usesStandIns, standIns == nil { standIns = .some(StandIns.replace(in: words.text)) }
                let text = usesStandIns ? (standIns ?? nil) ?? words.text : words.text
                words.ranges = try split(words.ranges, of: text, expression, behaviour, isInverted, search)
            case .digits(let behaviour):
                words.ranges = digits(words.ranges, of: words.text, behaviour)
            case .byteLevel(let addsSpace, let expression):
                if addsSpace, addSpaces(to: &words) { standIns = nil }
                guard let expression else { continue }
                if standIns == nil { standIns = .some(StandIns.replace(in: words.text)) }
                let text = (standIns ?? nil) ?? words.text
                words.ranges = try split(words.ranges, of: text, expression, .isolated, false, search)
            }
        }
    }

    // MARK: Splitting

    private static func split(
        _ ranges: [Range<Int>], of text: [UInt8], _ expression: Expression, _ behaviour: Behaviour,
        _ isInverted: Bool, _ search: Expression.Search
    ) throws(Problem) -> [Range<Int>] {
        var result: [Range<Int>] = []
        result.reserveCapacity(ranges.count + text.count / 8)
        for range in ranges {
            var cut = Cut(range, behaviour)
            try expression.matches(in: text, range, search) { start, end in
                if cut.end < start { cut.add(cut.end, start, isMatch: isInverted, &result) }
                cut.add(start, end, isMatch: !isInverted, &result)
            }
            if cut.end < range.upperBound { cut.add(cut.end, range.upperBound, isMatch: isInverted, &result) }
            cut.finish(&result)
        }
        return result
    }

    private static func digits(_ ranges: [Range<Int>], of text: [UInt8], _ behaviour: Behaviour) -> [Range<Int>] {
        let bytes = text.span
        var result: [Range<Int>] = []
        for range in ranges {
            var cut = Cut(range, behaviour)
            var at = range.lowerBound
            while at < range.upperBound {
                let (scalar, next) = CharacterClasses.scalar(bytes, at: at)
                if CharacterClasses.isNumeric(scalar) {
                    if cut.end < at { cut.add(cut.end, at, isMatch: false, &result) }
                    cut.add(at, next, isMatch: true, &result)
                }
                at = next
            }
            if cut.end < range.upperBound { cut.add(cut.end, range.upperBound, isMatch: false, &result) }
            cut.finish(&result)
        }
        return result
    }

    /// Joins or drops the matches of one word and what is between them.
    private struct Cut {
        private let behaviour: Behaviour
        /// The stretch that may still grow.
        private var open: Range<Int>?
        private var lastIsMatch = false
        /// Where the last stretch ended.
        private(set) var end: Int

        init(_ range: Range<Int>, _ behaviour: Behaviour) {
            end = range.lowerBound
            self.behaviour = behaviour
        }

        @inline(__always)
        mutating func add(_ start: Int, _ end: Int, isMatch: Bool, _ result: inout [Range<Int>]) {
            self.end = end
            switch behaviour {
            case .isolated: Self.append(start..<end, &result)
            case .removed: if !isMatch { Self.append(start..<end, &result) }
            case .contiguous: join(isMatch == lastIsMatch, start, end, isMatch, &result)
            case .mergedWithPrevious: join(isMatch && !lastIsMatch, start, end, isMatch, &result)
            // Seen from the end, a match joins what follows it unless that is a match: so a stretch that follows one does.
            case .mergedWithNext: join(lastIsMatch && !isMatch, start, end, isMatch, &result)
            }
        }

        private mutating func join(
            _ joins: Bool, _ start: Int, _ end: Int, _ isMatch: Bool, _ result: inout [Range<Int>]
        ) {
            if joins, let open {
                self.open = open.lowerBound..<end
            } else {
                if let open { Self.append(open, &result) }
                open = start..<end
            }
            lastIsMatch = isMatch
        }

        mutating func finish(_ result: inout [Range<Int>]) {
            if let open { Self.append(open, &result) }
        }

        @inline(__always) private static func append(_ range: Range<Int>, _ result: inout [Range<Int>]) {
            if !range.isEmpty { result.append(range) }
        }
    }

    // MARK: Byte level

    /// Puts a space before each word that has none; whether there was such a word.
    private static func addSpaces(to words: inout Words) -> Bool {
        let space = UInt8(ascii: " ")
        guard words.ranges.contains(where: { words.text[$0.lowerBound] != space }) else { return false }
        var text: [UInt8] = []
        text.reserveCapacity(words.text.count + words.ranges.count)
        for at in words.ranges.indices {
            let range = words.ranges[at]
            let start = text.count
            if words.text[range.lowerBound] != space { text.append(space) }
            text.append(contentsOf: words.text[range])
            words.ranges[at] = start..<text.count
        }
        words.text = text
        return true
    }

    private static func mapped(_ words: Words) -> Words {
        var result = Words(text: [], ranges: [])
        for range in words.ranges {
            let start = result.text.count
            for byte in words.text[range] { ByteAlphabet.append(byte, to: &result.text) }
            result.ranges.append(start..<result.text.count)
        }
        return result
    }

    private static func unmapped(_ words: Words) -> Words {
        var result = Words(text: [], ranges: [])
        for range in words.ranges {
            let start = result.text.count
            // Cuts are between characters, so there is nothing else in it.
            result.text.append(contentsOf: ByteAlphabet.decode(words.text.span.extracting(range)) ?? [])
            result.ranges.append(start..<result.text.count)
        }
        return result
    }
}
