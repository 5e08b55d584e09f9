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

    /// Bytes that the cache takes.
    public var byteCount: Int { layers.reduce(0) { $0 + ($1.keys.count + $1.values.count) * 4 } }
}
