/// An object that keeps the order of its keys, and finds any of them at once.
public struct JSONObject: Sendable, Equatable {
    /// A key and its value.
    public struct Entry: Sendable, Equatable {
        /// The key.
        public let key: String
        /// The value.
        public var value: JSONValue
        /// Where the key begins in the document that was read, in bytes; `nil` for a key that was set here.
        public let offset: Int?

        /// Compares key and value, wherever they came from.
        public static func == (a: Entry, b: Entry) -> Bool { a.key.hasSameBytes(as: b.key) && a.value == b.value }
    }

    /// All entries, in order.
    public private(set) var entries: [Entry] = []
    /// Empty while a walk through the few entries is faster.
    private var places = NameTable()
    private static let few = 8

    /// Takes `pairs` in their order; of equal keys the last one wins.
    public init(_ pairs: [(String, JSONValue)] = []) {
        for (key, value) in pairs { self[key] = value }
    }

    /// The value of `key`; setting a new one appends it, setting `nil` removes it.
    public subscript(key: String) -> JSONValue? {
        get { place(of: key).map { entries[$0].value } }
        set {
            guard let newValue else { return remove(key) }
            if let place = place(of: key) {
                entries[place].value = newValue
            } else {
                append(Entry(key: key, value: newValue, offset: nil))
            }
        }
    }

    /// Where the key of an object that was read begins in its document, in bytes.
    public func offset(of key: String) -> Int? { place(of: key).flatMap { entries[$0].offset } }

    /// Compares keys, order and values.
    public static func == (a: JSONObject, b: JSONObject) -> Bool { a.entries == b.entries }

    func contains(_ key: String) -> Bool { place(of: key) != nil }

    /// Appends an entry with a new key.
    mutating func append(_ entry: Entry) {
        entries.append(entry)
        if entries.count == Self.few + 1 {
            indexAll()
        } else if entries.count > Self.few {
            places.insert(entries.count - 1, NameTable.hash(entry.key))
        }
    }

    private mutating func remove(_ key: String) {
        guard let place = place(of: key) else { return }
        entries.remove(at: place)
        indexAll()
    }

    private mutating func indexAll() {
        places = NameTable()
        guard entries.count > Self.few else { return }
        for at in entries.indices { places.insert(at, NameTable.hash(entries[at].key)) }
    }

    private func place(of key: String) -> Int? {
        guard entries.count > Self.few else { return entries.firstIndex { $0.key.hasSameBytes(as: key) } }
        let hash = NameTable.hash(key)
        var slot = places.start(hash)
        while let place = places.next(hash, &slot) {
            if entries[place].key.hasSameBytes(as: key) { return place }
        }
        return nil
    }
}
