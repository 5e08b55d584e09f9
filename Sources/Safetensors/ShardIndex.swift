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

    init(_ file: InputFile, name: String) throws(Problem) {
        self.name = name
        let value: JSONValue
        do throws(Problem) {
            value = try JSONValue.parse(try file.readAll(limit: Self.limit))
        } catch {
            throw error.at(file: file.path)
        }
        guard case .object(let map)? = value.object?["weight_map"] else {
            throw Problem(
                .malformed, "bad-index", file: file.path, "has no 'weight_map' that says which file holds which tensor",
                hint: "download the index again")
        }
        var entries: [Entry] = []
        for entry in map.entries {
            guard let shard = entry.value.string else {
                throw Problem(
                    .malformed, "bad-index", file: file.path, tensor: entry.key, "is mapped to something that is no file name")
            }
            entries.append(Entry(tensor: entry.key, shard: shard))
        }
        weightMap = entries
        metadata = value.object?["metadata"]?.object ?? JSONObject()
        // Older writers could let this become a float.
        totalSize = metadata["total_size"]?.number.flatMap { $0.int ?? Int(exactly: $0.double) }
    }
}
