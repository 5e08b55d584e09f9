/// Which pairs of tokens become one, in which order.
struct MergeTable: Sendable {
    /// A pair's rank (lower goes first) and product.
    struct Merge: Sendable {
        var rank: UInt32
        var product: UInt32
        /// No pair has this rank.
        static let none = Merge(rank: .max, product: 0)
    }

    // Keys and values lie apart: most searches are for pairs that are not there, and see keys alone.
    private var keys: [UInt64]
    private var merges: [Merge]
    private static let free = UInt64.max

    /// Makes room for `count` pairs.
    init(count: Int) {
        var size = 16
        while size < count * 2 { size *= 2 }
        keys = [UInt64](repeating: Self.free, count: size)
        merges = [Merge](repeating: .none, count: size)
    }

    /// Adds a pair, or gives it another rank; there must be room.
    mutating func set(_ left: UInt32, _ right: UInt32, _ merge: Merge) {
        let key = UInt64(left) << 32 | UInt64(right)
        var slot = Int(SeededHash.of(key) >> 32) & (keys.count - 1)
        while keys[slot] != Self.free, keys[slot] != key { slot = (slot + 1) & (keys.count - 1) }
        keys[slot] = key
        merges[slot] = merge
    }

    /// The merge of a pair, or `none`.
    @inline(__always) func merge(_ left: UInt32, _ right: UInt32) -> Merge {
        let key = UInt64(left) << 32 | UInt64(right)
        let keys = keys.span
        var slot = Int(SeededHash.of(key) >> 32) & (keys.count - 1)
        while keys[slot] != Self.free {
            if keys[slot] == key { return merges[slot] }
            slot = (slot + 1) & (keys.count - 1)
        }
        return .none
    }
}
