/// Hashes of short byte strings, under a key that no file can know.
enum SeededHash {
    private static let seed = UInt64.random(in: .min ... .max)
    private static let factor = UInt64.random(in: .min ... .max) | 1

    @inline(__always) static func of(_ bytes: borrowing Span<UInt8>) -> UInt64 {
        var hash = seed
        for at in bytes.indices {
            hash = (hash ^ UInt64(bytes[at])) &* factor
            hash ^= hash >> 32
        }
        return hash &* factor
    }

    @inline(__always) static func of(_ value: UInt64) -> UInt64 {
        var hash = (value ^ seed) &* factor
        hash ^= hash >> 32
        return hash &* factor
    }
}

/// The tokens of a vocabulary, as UTF-8, by text and by id.
struct TokenTable: Sendable {
    private var text: [UInt8] = []
    private var ends: [Int] = [0]
    private var ids: [UInt32] = []
    /// Places plus one; 0 is free.
    private var slots: [UInt32] = [UInt32](repeating: 0, count: 16)
    /// Places plus one by id; 0 where an id has no token.
    private var placesByID: [UInt32] = []

    /// How many tokens there are.
    var count: Int { ids.count }
    /// One more than the largest id.
    var idLimit: Int { placesByID.count }

    /// The id of `token`.
    func id(_ token: borrowing Span<UInt8>) -> Int? {
        var slot = start(token)
        while slots[slot] != 0 {
            let place = Int(slots[slot]) - 1
            if isEqual(place, token) { return Int(ids[place]) }
            slot = (slot + 1) & (slots.count - 1)
        }
        return nil
    }

    /// The token with an id.
    func token(_ id: Int) -> ArraySlice<UInt8>? {
        guard id >= 0, id < placesByID.count, placesByID[id] != 0 else { return nil }
        return text[range(Int(placesByID[id]) - 1)]
    }

    /// Adds a token; `false` if it is there already.
    mutating func insert(_ token: borrowing Span<UInt8>, id: Int) -> Bool {
        guard self.id(token) == nil else { return false }
        if (count + 1) * 2 > slots.count { grow() }
        for at in token.indices { text.append(token[at]) }
        ends.append(text.count)
        ids.append(UInt32(id))
        put(count - 1, start(token))
        return true
    }

    /// Finds tokens by id from now on.
    ///
    /// Ids may have gaps, but not be so sparse that a table of them is no use.
    ///
    /// - Returns: the first id that two tokens have, or that is too large.
    mutating func indexIDs() -> (id: Int, isTooLarge: Bool)? {
        let largest = ids.max().map(Int.init) ?? -1
        guard largest < 16 * count + 65_536 else { return (largest, true) }
        placesByID = [UInt32](repeating: 0, count: largest + 1)
        for (place, id) in ids.enumerated() {
            guard placesByID[Int(id)] == 0 else { return (Int(id), false) }
            placesByID[Int(id)] = UInt32(place + 1)
        }
        return nil
    }

    private func range(_ place: Int) -> Range<Int> { ends[place]..<ends[place + 1] }

    private func start(_ token: borrowing Span<UInt8>) -> Int { Int(SeededHash.of(token) >> 32) & (slots.count - 1) }

    private func isEqual(_ place: Int, _ token: borrowing Span<UInt8>) -> Bool {
        let range = range(place)
        guard range.count == token.count else { return false }
        let own = text.span.extracting(range)
        for at in token.indices where own[at] != token[at] { return false }
        return true
    }

    private mutating func grow() {
        slots = [UInt32](repeating: 0, count: slots.count * 2)
        for place in 0..<count { put(place, start(text.span.extracting(range(place)))) }
    }

    private mutating func put(_ place: Int, _ first: Int) {
        var slot = first
        while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
        slots[slot] = UInt32(place + 1)
    }
}
