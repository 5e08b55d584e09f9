/// Keys and values of the positions that a decoder has seen, so that each position is computed once.
///
/// A cache belongs to the decoder that filled it: with other adapters, the same text has other keys.
public struct KeyValueCache: Sendable {
    /// Keys and values of one layer (positions × kv heads · head size), keys turned by their position.
    struct Layer: Sendable {
        var keys: [Float] = []
        var values: [Float] = []
    }

    var layers: [Layer]
    /// Positions that are there, with those of a prefix.
    public internal(set) var count: Int

    /// Forgets the last positions.
    mutating func removeLast(_ number: Int) {
        guard number > 0 else { return }
        for layer in layers.indices {
            let width = layers[layer].keys.count / count
            layers[layer].keys.removeLast(number * width)
            layers[layer].values.removeLast(number * width)
        }
        count -= number
    }

    /// Bytes that the cache takes.
    public var byteCount: Int { layers.reduce(0) { $0 + ($1.keys.count + $1.values.count) * 4 } }
}
