import Problems

/// The model of a `tokenizer.json`: turns words, as bytes, into ids by merging pairs.
struct BytePairModel: Sendable {
    var tokens = TokenTable()
    var merges = MergeTable(count: 0)
    /// The token of each byte; -1 where the vocabulary has none.
    var byteIDs = [Int64](repeating: -1, count: 256)
    /// `unk_token`: what a byte without a token becomes; without it such a byte is dropped, as the library does.
    var unknown: String?
    var unknownID: Int?
    /// `fuse_unk`: several unknown bytes in a row become one token.
    var fusesUnknown = false
    /// `ignore_merges`: a word that is a token is not put together from pairs.
    var ignoresMerges = false

    /// What a thread needs to merge; kept for the next word.
    struct Scratch: Sendable {
        fileprivate var ids: [UInt32] = []
        fileprivate var ranks: [UInt32] = []
        fileprivate var text: [UInt8] = []
        fileprivate var list = MergeList()
    }

    /// From here on a heap is faster than looking through all pairs for the first one.
    private static let longWord = 48

    /// Appends the ids of `word` to `result`; `false` if it has a byte without a token and `unk_token` is none either.
    func encode(_ word: borrowing Span<UInt8>, _ scratch: inout Scratch, into result: inout [UInt32]) -> Bool {
        if ignoresMerges {
            scratch.text.removeAll(keepingCapacity: true)
            for at in word.indices { ByteAlphabet.append(word[at], to: &scratch.text) }
            if let id = tokens.id(scratch.text.span) {
                result.append(UInt32(id))
                return true
            }
        }
        guard begin(word, &scratch.ids) else { return false }
        if scratch.ids.count < Self.longWord {
            mergeShort(&scratch)
            result.append(contentsOf: scratch.ids)
        } else {
            scratch.list.merge(scratch.ids, by: merges, into: &result)
        }
        return true
    }

    /// The tokens of single bytes.
    private func begin(_ word: borrowing Span<UInt8>, _ ids: inout [UInt32]) -> Bool {
        ids.removeAll(keepingCapacity: true)
        var lastIsUnknown = false
        for at in word.indices {
            let id = byteIDs[Int(word[at])]
            if id >= 0 {
                ids.append(UInt32(truncatingIfNeeded: id))
                lastIsUnknown = false
            } else if unknown != nil {
                guard let unknownID else { return false }
                if !(fusesUnknown && lastIsUnknown) { ids.append(UInt32(unknownID)) }
                lastIsUnknown = true
            }
        }
        return true
    }

    /// Merges the pair of lowest rank, the leftmost of equals, until there is none.
    private func mergeShort(_ scratch: inout Scratch) {
        var count = scratch.ids.count
        guard count > 1 else { return }
        scratch.ranks.removeAll(keepingCapacity: true)
        for at in 0..<(count - 1) { scratch.ranks.append(merges.merge(scratch.ids[at], scratch.ids[at + 1]).rank) }
        while count > 1 {
            var best = UInt32.max
            var place = 0
            for at in 0..<(count - 1) where scratch.ranks[at] < best { (best, place) = (scratch.ranks[at], at) }
            if best == .max { break }
            scratch.ids[place] = merges.merge(scratch.ids[place], scratch.ids[place + 1]).product
            scratch.ids.remove(at: place + 1)
            scratch.ranks.remove(at: place)
            count -= 1
            if place > 0 { scratch.ranks[place - 1] = merges.merge(scratch.ids[place - 1], scratch.ids[place]).rank }
            if place < count - 1 {
                scratch.ranks[place] = merges.merge(scratch.ids[place], scratch.ids[place + 1]).rank
            }
        }
    }
}

/// A long word as a linked list, with a heap of the pairs that can be merged: n log n whatever the word.
struct MergeList: Sendable {
    private var ids: [UInt32] = []
    /// The next symbol that is still there; the number of symbols at the end.
    private var next: [Int32] = []
    private var previous: [Int32] = []
    /// The rank in the upper half, the place in the lower: the lowest rank first, the leftmost of equals.
    private var heap: [UInt64] = []

    /// Appends what is left of `symbols` when no pair can be merged.
    mutating func merge(_ symbols: [UInt32], by merges: MergeTable, into result: inout [UInt32]) {
        let count = symbols.count
        ids = symbols
        next = (0..<Int32(count)).map { $0 + 1 }
        previous = (0..<Int32(count)).map { $0 - 1 }
        heap.removeAll(keepingCapacity: true)
        for at in 0..<(count - 1) { push(at, merges) }
        while let top = pop() {
            let place = Int(top & 0xFFFF_FFFF)
            // The pair may be gone, or another one by now.
            guard ids[place] != .max, Int(next[place]) < count else { continue }
            let right = Int(next[place])
            let merge = merges.merge(ids[place], ids[right])
            guard merge.rank == UInt32(top >> 32) else { continue }
            ids[place] = merge.product
            ids[right] = .max
            next[place] = next[right]
            if Int(next[place]) < count { previous[Int(next[place])] = Int32(place) }
            if previous[place] >= 0 { push(Int(previous[place]), merges) }
            if Int(next[place]) < count { push(place, merges) }
        }
        var at = 0
        while at < count {
            result.append(ids[at])
            at = Int(next[at])
        }
    }

    private mutating func push(_ place: Int, _ merges: MergeTable) {
        let rank = merges.merge(ids[place], ids[Int(next[place])]).rank
        guard rank != .max else { return }
        let entry = UInt64(rank) << 32 | UInt64(place)
        heap.append(entry)
        var at = heap.count - 1
        while at > 0, heap[(at - 1) / 2] > entry {
            heap[at] = heap[(at - 1) / 2]
            at = (at - 1) / 2
        }
        heap[at] = entry
    }

    private mutating func pop() -> UInt64? {
        guard let top = heap.first, let last = heap.popLast() else { return nil }
        guard !heap.isEmpty else { return top }
        var at = 0
        while 2 * at + 1 < heap.count {
            var child = 2 * at + 1
            if child + 1 < heap.count, heap[child + 1] < heap[child] { child += 1 }
            guard heap[child] < last else { break }
            heap[at] = heap[child]
            at = child
        }
        heap[at] = last
        return top
    }
}
