import Files
import Problems
import StrictJSON

/// The index of a checkpoint of several files: `model.safetensors.index.json`.
public struct ShardIndex: Sendable {
    /// Which file holds a tensor.
    public struct Entry: Sendable {
        /// The tensor.
        public let tensor: String
        /// The file, a name in the same directory.
        public let shard: String
    }

    /// No index comes near this size.
    static let limit = 512 << 20

    /// The index's own file name.
    public let name: String
    /// Tensors and their files, in the index's order.
    public let weightMap: [Entry]
    /// The index's `metadata`.
    public let metadata: JSONObject
    /// Bytes of all tensors, as `metadata` says.
    public let totalSize: Int?
    /// `total_size` as it is written, if it is no whole number.
    let oddTotalSize: String?
    /// The names of the files, in the order of their first use, and how often they are used.
    package let shards: [(name: String, count: Int, firstTensor: String)]
    /// The file of each entry of `weightMap`, by its place in `shards`.
    let shardOfEntry: [Int]

    package init(_ file: any ByteSource, name: String) throws(Problem) {
        self.name = name
        do throws(Problem) {
            var parser = IndexParser(try file.readAll(limit: Self.limit))
            try parser.parse()
            weightMap = parser.entries
            metadata = parser.metadata
            shards = parser.shards
            shardOfEntry = parser.shardOfEntry
        } catch {
            throw error.at(file: file.path)
        }
        // Older writers could let this become a float.
        let said = metadata["total_size"]
        totalSize = said?.number.flatMap { $0.int ?? Int(exactly: $0.double) }
        oddTotalSize = totalSize == nil && said != nil && said != .null ? said?.encoded() : nil
    }
}

/// Reads an index without a tree in between: it may map hundreds of thousands of tensors.
private struct IndexParser: ~Copyable {
    private var reader: JSONReader
    private(set) var entries: [ShardIndex.Entry] = []
    private(set) var shardOfEntry: [Int] = []
    private(set) var shards: [(name: String, count: Int, firstTensor: String)] = []
    private(set) var metadata = JSONObject()
    private var tensorNames = NameTable()
    private var shardNames = NameTable()

    init(_ bytes: [UInt8]) { reader = JSONReader(bytes) }

    mutating func parse() throws(Problem) {
        try reader.expectNoByteOrderMark()
        var seen: Set<String> = []
        try readObject { (self: inout IndexParser, key, place) throws(Problem) in
            guard seen.insert(key).inserted else { throw self.duplicate(key, place) }
            switch key {
            case "weight_map": try self.readMap()
            case "metadata": self.metadata = try JSONValue(from: &self.reader).object ?? JSONObject()
            default: _ = try JSONValue(from: &self.reader)
            }
        }
        try reader.expectEnd()
        guard seen.contains("weight_map") else { throw noMap(at: 0) }
    }

    private mutating func readObject(
        _ body: (inout IndexParser, _ key: String, _ place: Int) throws(Problem) -> Void
    ) throws(Problem) {
        try reader.expect("{")
        if reader.take("}") { return }
        repeat {
            _ = reader.peek()
            let place = reader.position
            let key = try reader.string()
            try reader.expect(":")
            try body(&self, key, place)
        } while reader.take(",")
        try reader.expect("}")
    }

    private mutating func readMap() throws(Problem) {
        guard reader.peek() == UInt8(ascii: "{") else { throw noMap(at: reader.position) }
        try readObject { (self: inout IndexParser, tensor, place) throws(Problem) in
            let hash = NameTable.hash(tensor)
            var slot = self.tensorNames.start(hash)
            while let other = self.tensorNames.next(hash, &slot) {
                if self.entries[other].tensor.hasSameBytes(as: tensor) { throw self.duplicate(tensor, place) }
            }
            guard self.reader.peek() == UInt8(ascii: "\"") else {
                throw Problem(
                    .malformed, "bad-index", tensor: tensor, "is mapped to something that is no file name",
                    offset: self.reader.position)
            }
            let shard = self.number(of: try self.reader.string(), tensor)
            self.tensorNames.insert(self.entries.count, hash)
            self.entries.append(ShardIndex.Entry(tensor: tensor, shard: self.shards[shard].name))
            self.shardOfEntry.append(shard)
        }
    }

    /// The place of the file in `shards`, where it is added if it is new.
    private mutating func number(of name: String, _ tensor: String) -> Int {
        if let last = shardOfEntry.last, shards[last].name.hasSameBytes(as: name) {
            shards[last].count += 1
            return last
        }
        let hash = NameTable.hash(name)
        var slot = shardNames.start(hash)
        while let place = shardNames.next(hash, &slot) {
            guard shards[place].name.hasSameBytes(as: name) else { continue }
            shards[place].count += 1
            return place
        }
        shardNames.insert(shards.count, hash)
        shards.append((name, 1, tensor))
        return shards.count - 1
    }

    private func duplicate(_ key: String, _ place: Int) -> Problem {
        reader.problem("duplicate", "has the key '\(key.excerpt)' twice", at: place)
    }

    private func noMap(at place: Int) -> Problem {
        Problem(
            .malformed, "bad-index", "has no 'weight_map' that says which file holds which tensor",
            hint: "download the index again", offset: place)
    }
}

extension ShardIndex {
    /// An index as a file: where each tensor is, sorted by the bytes of the names.
    ///
    /// - Parameters:
    ///   - metadata: `total_size` and whatever else there is.
    ///   - places: tensors with the names of their files.
    public static func encoded(metadata: JSONObject, places: [(tensor: String, file: String)]) -> [UInt8] {
        let sorted = places.sorted { Array($0.tensor.utf8).lexicographicallyPrecedes(Array($1.tensor.utf8)) }
        let map = JSONObject(sorted.map { ($0.tensor, .string($0.file)) })
        let document = JSONObject([("metadata", .object(metadata)), ("weight_map", .object(map))])
        return Array((JSONValue.object(document).encoded(indent: 2) + "\n").utf8)
    }
}
