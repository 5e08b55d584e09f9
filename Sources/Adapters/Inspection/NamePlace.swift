/// Where a module stands in a model, read from its path: the stack of layers, the layer, and what it is there.
public struct NamePlace: Hashable, Sendable {
    /// The path of the list of layers: `model.layers`; empty for what belongs to no layer.
    public let stack: String
    /// The layer's number.
    public let layer: Int?
    /// The rest of the path, further numbers as `*`: `self_attn.q_proj`, `mlp.experts.*.w1`.
    public let kind: String

    /// Takes `path` apart at its first number that something follows.
    public init(_ path: String) {
        guard let place = Self.layer(in: path) else {
            stack = ""
            layer = nil
            kind = path
            return
        }
        stack = String(place.stack)
        layer = place.number
        let parts = place.rest.split(separator: ".", omittingEmptySubsequences: false)
        kind = parts.map { Self.isNumber($0) ? "*" : String($0) }.joined(separator: ".")
    }

    private static func isNumber(_ part: Substring) -> Bool {
        !part.isEmpty && part.utf8.allSatisfy { (0x30...0x39).contains($0) }
    }

    /// The first number in `path` that something follows, what comes before it, and what comes after it.
    static func layer(in path: String) -> (stack: Substring, number: Int, rest: Substring)? {
        let text = path.utf8Span.span
        let dot = UInt8(ascii: ".")
        var start = 0
        while start < text.count {
            var end = start
            var number: Int? = 0
            while end < text.count, text[end] != dot {
                let digit = Int(text[end]) - 0x30
                // Past any layer's number, a number is only a name; so is what has other characters in it.
                number = (0...9).contains(digit) ? number.flatMap { $0 < 1 << 58 ? $0 * 10 + digit : nil } : nil
                end += 1
            }
            guard end < text.count else { return nil }
            if end > start, let number {
                let bytes = path.utf8
                let (first, last) = (
                    bytes.index(bytes.startIndex, offsetBy: max(0, start - 1)),
                    bytes.index(bytes.startIndex, offsetBy: end + 1)
                )
                return (path[..<(start == 0 ? bytes.startIndex : first)], number, path[last...])
            }
            start = end + 1
        }
        return nil
    }

    /// The last part of `kind`, and the one before it where that is no name: `q_proj`, `experts.*`.
    public var leaf: String {
        let parts = kind.split(separator: ".")
        guard let last = parts.last else { return kind }
        let isName = last != "*" && !last.utf8.allSatisfy { (0x30...0x39).contains($0) }
        return isName || parts.count == 1 ? String(last) : parts.suffix(2).joined(separator: ".")
    }
}

/// The layers of one stack that something touches.
public struct LayerSet: Sendable, Equatable {
    /// The path of the list of layers: `model.layers`.
    public let stack: String
    /// The layers, ascending.
    public let layers: [Int]

    /// The layers in compressed form: `0-21`, `3, 5-7`.
    public var ranges: String {
        var parts: [ClosedRange<Int>] = []
        for layer in layers {
            if let last = parts.last, last.upperBound + 1 == layer {
                parts[parts.count - 1] = last.lowerBound...layer
            } else {
                parts.append(layer...layer)
            }
        }
        return parts.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
            .joined(separator: ", ")
    }

    /// The layers that `paths` name, stack by stack.
    public static func of(_ paths: some Sequence<String>) -> [LayerSet] {
        var found: [Substring: Set<Int>] = [:]
        // Names of one stack mostly come one after the other.
        var current: (stack: Substring, layers: Set<Int>) = ("", [])
        for path in paths {
            guard let place = NamePlace.layer(in: path) else { continue }
            if place.stack != current.stack {
                if !current.layers.isEmpty { found[current.stack, default: []].formUnion(current.layers) }
                current = (place.stack, [])
            }
            current.layers.insert(place.number)
        }
        if !current.layers.isEmpty { found[current.stack, default: []].formUnion(current.layers) }
        return found.sorted { $0.key < $1.key }.map { LayerSet(stack: String($0.key), layers: $0.value.sorted()) }
    }
}

/// How often each value occurs.
public struct Tally<Value: Hashable & Comparable & Sendable>: Sendable {
    /// The values with their counts, the most frequent first, equal counts by value.
    public let entries: [(value: Value, count: Int)]

    /// Counts `values`.
    public init(_ values: some Sequence<Value>) {
        var counts: [Value: Int] = [:]
        for value in values { counts[value, default: 0] += 1 }
        entries = counts.map { ($0.key, $0.value) }.sorted { a, b in
            a.count != b.count ? a.count > b.count : a.value < b.value
        }
    }
}
