/// The ids of words that were seen before, for one thread.
struct WordCache: Sendable {
    private struct Entry: Sendable {
        var hash: UInt64 = 0
        var start: Int32 = 0
        var length: Int32 = -1
        var firstID: Int32 = 0
        var idCount: Int32 = 0
    }

    private var entries = [Entry](repeating: Entry(), count: 1 << 16)
    private var count = 0
    private var text: [UInt8] = []
    private var ids: [UInt32] = []
    /// Scratch of the model, which lives as long.
    var scratch = BytePairModel.Scratch()

    /// Longer words seldom come back.
    static let longest = 128

    /// Appends the ids of a word that is known.
    func find(_ word: borrowing Span<UInt8>, _ hash: UInt64, into result: inout [UInt32]) -> Bool {
        let entries = entries.span
        var slot = Int(hash >> 32) & (entries.count - 1)
        while entries[slot].length >= 0 {
            let entry = entries[slot]
            if entry.hash == hash, isEqual(entry, word) {
                for at in 0..<Int(entry.idCount) { result.append(ids[Int(entry.firstID) + at]) }
                return true
            }
            slot = (slot + 1) & (entries.count - 1)
        }
        return false
    }

    private func isEqual(_ entry: Entry, _ word: borrowing Span<UInt8>) -> Bool {
        guard Int(entry.length) == word.count else { return false }
        let own = text.span.extracting(Int(entry.start)..<Int(entry.start + entry.length))
        for at in word.indices where own[at] != word[at] { return false }
        return true
    }

    /// Remembers a word that was not found; forgets everything when half full.
    mutating func insert(_ word: borrowing Span<UInt8>, _ hash: UInt64, _ wordIDs: ArraySlice<UInt32>) {
        if count * 2 >= entries.count { removeAll() }
        var slot = Int(hash >> 32) & (entries.count - 1)
        while entries[slot].length >= 0 { slot = (slot + 1) & (entries.count - 1) }
        entries[slot] = Entry(
            hash: hash, start: Int32(text.count), length: Int32(word.count), firstID: Int32(ids.count),
            idCount: Int32(wordIDs.count))
        for at in word.indices { text.append(word[at]) }
        ids.append(contentsOf: wordIDs)
        count += 1
    }

    private mutating func removeAll() {
        for slot in entries.indices { entries[slot].length = -1 }
        text.removeAll(keepingCapacity: true)
        ids.removeAll(keepingCapacity: true)
        count = 0
    }
}
