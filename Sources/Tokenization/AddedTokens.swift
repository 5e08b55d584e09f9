/// A token that is found in the text itself, before anything is split or merged.
struct AddedToken: Sendable {
    var id: Int
    var content: String
    /// Found only where no word character touches it.
    var isSingleWord = false
    /// Takes the white space before it along.
    var stripsLeft = false
    /// Takes the white space behind it along.
    var stripsRight = false
    /// Found in the normalized text, by its own normalized content.
    var isNormalized = false
    /// Left out of decoded text on request.
    var isSpecial = false
}

/// Finds added tokens: at each place the longest, from left to right.
struct AddedTokenMatcher: Sendable {
    /// A stretch of text, or an added token in its place.
    enum Part: Equatable {
        case text(Range<Int>)
        case token(Int)
    }

    private struct Node: Sendable {
        var byte: UInt8 = 0
        var child: Int32 = -1
        var sibling: Int32 = -1
        /// The place of a token in the list; -1 if none ends here.
        var token: Int32 = -1
    }

    private var nodes: [Node] = []
    private var roots = [Int32](repeating: -1, count: 256)
    private var tokens: [AddedToken] = []

    /// Whether there is nothing to find.
    var isEmpty: Bool { tokens.isEmpty }

    /// Adds a token that is found as `pattern`; `false` if another is found so already.
    mutating func add(_ token: AddedToken, as pattern: [UInt8]) -> Bool {
        guard let first = pattern.first else { return false }
        if roots[Int(first)] < 0 {
            roots[Int(first)] = Int32(nodes.count)
            nodes.append(Node(byte: first))
        }
        var node = Int(roots[Int(first)])
        for byte in pattern.dropFirst() {
            if let next = child(of: node, byte) {
                node = next
            } else {
                nodes.append(Node(byte: byte, sibling: nodes[node].child))
                nodes[node].child = Int32(nodes.count - 1)
                node = nodes.count - 1
            }
        }
        guard nodes[node].token < 0 else { return false }
        nodes[node].token = Int32(tokens.count)
        tokens.append(token)
        return true
    }

    private func child(of node: Int, _ byte: UInt8) -> Int? {
        var next = nodes[node].child
        while next >= 0, nodes[Int(next)].byte != byte { next = nodes[Int(next)].sibling }
        return next >= 0 ? Int(next) : nil
    }

    /// The longest token that begins at `at`, and where it ends.
    private func longest(_ bytes: borrowing Span<UInt8>, at: Int) -> (token: Int, end: Int)? {
        guard roots[Int(bytes[at])] >= 0 else { return nil }
        var node = Int(roots[Int(bytes[at])])
        var found: (Int, Int)?
        var next = at + 1
        while true {
            if nodes[node].token >= 0 { found = (Int(nodes[node].token), next) }
            guard next < bytes.count, let child = child(of: node, bytes[next]) else { return found }
            node = child
            next += 1
        }
    }

    /// Cuts `text` at the tokens in it.
    func parts(of text: [UInt8]) -> [Part] {
        guard !isEmpty, !text.isEmpty else { return text.isEmpty ? [] : [.text(0..<text.count)] }
        let bytes = text.span
        var result: [Part] = []
        var done = 0
        var at = 0
        // A run of white space is walked once, however many tokens in it strip what is behind them.
        var run = 0..<0
        while at < bytes.count {
            guard let (place, end) = longest(bytes, at: at) else {
                at += 1
                continue
            }
            let token = tokens[place]
            var (start, stop) = (at, end)
            at = end
            if token.isSingleWord, Self.touchesWord(bytes, start, end) { continue }
            if token.stripsLeft { start = Self.spacesStart(bytes, before: start, from: done) }
            if token.stripsRight {
                if !(run.contains(stop) || run.upperBound == stop) {
                    run = stop..<Self.spacesEnd(bytes, from: stop)
                }
                stop = run.upperBound
            }
            if done < start { result.append(.text(done..<start)) }
            result.append(.token(token.id))
            done = stop
        }
        if done < bytes.count { result.append(.text(done..<bytes.count)) }
        return result
    }

    private static func touchesWord(_ bytes: borrowing Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
        if start > 0 {
            let before = CharacterClasses.scalar(bytes, at: CharacterClasses.start(bytes, before: start)).0
            if CharacterClasses.isWord(before) { return true }
        }
        return end < bytes.count && CharacterClasses.isWord(CharacterClasses.scalar(bytes, at: end).0)
    }

    /// Where the white space begins that ends at `end`, but not before `limit`.
    private static func spacesStart(_ bytes: borrowing Span<UInt8>, before end: Int, from limit: Int) -> Int {
        var at = end
        while at > limit {
            let start = CharacterClasses.start(bytes, before: at)
            guard CharacterClasses.isSpace(CharacterClasses.scalar(bytes, at: start).0) else { break }
            at = start
        }
        return max(at, limit)
    }

    private static func spacesEnd(_ bytes: borrowing Span<UInt8>, from start: Int) -> Int {
        var at = start
        while at < bytes.count {
            let (scalar, next) = CharacterClasses.scalar(bytes, at: at)
            guard CharacterClasses.isSpace(scalar) else { break }
            at = next
        }
        return at
    }
}
