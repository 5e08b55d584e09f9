import Adapters
import Digests
import Problems
import Safetensors
import StrictJSON

/// Where an output came from, as text in the metadata of each of its files.
///
/// The keys and their values are specified in `formats/merged-checkpoint.md`.
struct Provenance: Sendable {
    /// Digests that are known only when the files have been read.
    struct Digests: Sendable {
        /// One for each adapter.
        var adapters: [String]
        /// One for each file of the base, if they were asked for.
        var base: [String]
    }

    /// What stands where a digest will be, so that the header has its final size.
    private static let blank = String(repeating: "0", count: 64)

    private let baseIdentity: String
    private let baseShards: [String]
    private let inputs: [(path: String, weight: Double)]
    private let version: String
    private let digests: Bool
    /// The adapters that are in the base already: a file that none of them changes does not say so.
    private let earlier: [JSONValue]

    init(base: Checkpoint, inputs: [MergeInput], version: String, digests: Bool) {
        baseIdentity = Origin.identity(of: base)
        baseShards = base.shards.map(\.name)
        self.inputs = inputs.map { ($0.adapter.path, $0.weight) }
        self.version = version
        self.digests = digests
        let lists = base.shards.compactMap { shard -> [JSONValue]? in
            guard let text = shard.file.header.metadataValue("adapterkit.adapters") else { return nil }
            return (try? JSONValue.parse(Array(text.utf8)))?.array
        }
        earlier = lists.max { $0.count < $1.count } ?? []
    }

    /// The base's own metadata, with ours added; `nil` stands for digests that are still unknown.
    func metadata(over own: [(key: String, value: String)]?, digests found: Digests?) -> [(key: String, value: String)]
    {
        var result = (own ?? [("format", "pt")]).filter { !$0.key.hasPrefix("adapterkit.") }
        let adapters =
            earlier
            + inputs.enumerated().map { at, input in
                Origin.entry(path: input.path, digest: found?.adapters[at] ?? Self.blank, weight: input.weight)
            }
        result.append(("adapterkit.adapters", JSONValue.array(adapters).encoded()))
        result.append(("adapterkit.base", baseIdentity))
        if digests {
            let shards = baseShards.enumerated().map { at, name in
                (name, JSONValue.string(found?.base[at] ?? Self.blank))
            }
            result.append(("adapterkit.base_sha256", JSONValue.object(JSONObject(shards)).encoded()))
        }
        result.append(("adapterkit.version", version))
        return result
    }
}
