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
        let parts = path.split(separator: ".", omittingEmptySubsequences: false)
        let isNumber = { (part: Substring) in !part.isEmpty && part.utf8.allSatisfy { (0x30...0x39).contains($0) } }
        guard let at = parts.firstIndex(where: isNumber), at + 1 < parts.count, let number = Int(parts[at]) else {
            stack = ""
            layer = nil
            kind = path
            return
        }
        stack = parts[..<at].joined(separator: ".")
        layer = number
        kind = parts[(at + 1)...].map { isNumber($0) ? "*" : String($0) }.joined(separator: ".")
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
        var found: [String: Set<Int>] = [:]
        for path in paths {
            let place = NamePlace(path)
            if let layer = place.layer { found[place.stack, default: []].insert(layer) }
        }
        return found.sorted { $0.key < $1.key }.map { LayerSet(stack: $0.key, layers: $0.value.sorted()) }
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
