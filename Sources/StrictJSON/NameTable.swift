/// Finds names by their bytes: a hash table of places in a list that its owner keeps.
///
/// Swift holds two spellings of "é" for equal, but to a file format they are two names; and a set of strings beside the
/// list would double its memory. Hashes are seeded anew for each process, so that no file can aim at collisions.
package struct NameTable: Sendable {
    /// The upper half of a slot is a hash, the lower half a place plus one; 0 is free.
    private var slots: [UInt64] = []
    private var count = 0

    /// Makes an empty table.
    package init() {}

    /// The hash of a name's bytes.
    package static func hash(_ name: String) -> UInt32 {
        var hasher = Hasher()
        unsafe name.utf8Span.span.bytes.withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
        return UInt32(truncatingIfNeeded: hasher.finalize())
    }

    /// Where to begin looking for names of that hash with `next`.
    package func start(_ hash: UInt32) -> Int { slots.isEmpty ? 0 : Int(hash) & (slots.count - 1) }

    /// The next place whose name has that hash, and may be equal; `nil` if there is no other.
    package func next(_ hash: UInt32, _ slot: inout Int) -> Int? {
        guard !slots.isEmpty else { return nil }
        while slots[slot] != 0 {
            let entry = slots[slot]
            slot = (slot + 1) & (slots.count - 1)
            if UInt32(entry >> 32) == hash { return Int(UInt32(truncatingIfNeeded: entry)) - 1 }
        }
        return nil
    }

    /// Adds a name that is not yet in the table.
    package mutating func insert(_ place: Int, _ hash: UInt32) {
        // At most half full: most searches are for names that are not there, and end at the first free slot.
        if (count + 1) * 2 > slots.count { grow() }
        put(UInt64(hash) << 32 | UInt64(UInt32(place + 1)))
        count += 1
    }

    /// Follows a list that was put into another order; `newPlaces` has the new place of each old one.
    package mutating func move(to newPlaces: [UInt32]) {
        for slot in slots.indices where slots[slot] != 0 {
            let place = Int(UInt32(truncatingIfNeeded: slots[slot])) - 1
            slots[slot] = (slots[slot] & ~0xFFFF_FFFF) | UInt64(newPlaces[place] + 1)
        }
    }

    private mutating func grow() {
        let old = slots
        slots = Array(repeating: 0, count: max(old.count * 2, 16))
        for entry in old where entry != 0 { put(entry) }
    }

    private mutating func put(_ entry: UInt64) {
        var slot = Int(entry >> 32) & (slots.count - 1)
        while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
        slots[slot] = entry
    }
}

extension String {
    /// Whether both are the same bytes, not just the same characters.
    package func hasSameBytes(as other: String) -> Bool {
        let a = utf8Span.span
        let b = other.utf8Span.span
        guard a.count == b.count else { return false }
        for at in a.indices where a[at] != b[at] { return false }
        return true
    }

    /// The text, or its beginning if it is long, for a message.
    package var excerpt: String { utf8.count <= 100 ? self : String(unicodeScalars.prefix(80)) + "…" }
}
