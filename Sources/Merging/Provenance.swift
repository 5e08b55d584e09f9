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

    init(base: Checkpoint, inputs: [MergeInput], version: String, digests: Bool) {
        baseIdentity = Self.identity(of: base)
        baseShards = base.shards.map(\.name)
        self.inputs = inputs.map { (Self.lastComponent($0.adapter.path), $0.weight) }
        self.version = version
        self.digests = digests
    }

    /// SHA-256 of a line `name dtype shape` for each tensor, separated by tabs, sorted by name.
    static func identity(of base: Checkpoint) -> String {
        let lines = base.tensors.map { entry in
            let shape = entry.info.shape.map(String.init).joined(separator: ",")
            return "\(entry.info.name)\t\(entry.info.dtype.rawValue)\t\(shape)\n"
        }
        return SHA256.hex(
            Array(lines.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }.joined().utf8))
    }

    /// A path says much about a machine and little about the adapter: only its last part is kept.
    private static func lastComponent(_ path: String) -> String {
        path.split(separator: "/").last { $0 != "." && $0 != ".." }.map(String.init) ?? "adapter"
    }

    /// The base's own metadata, with ours added; `nil` stands for digests that are still unknown.
    func metadata(over own: [(key: String, value: String)]?, digests found: Digests?) -> [(key: String, value: String)]
    {
        var result = (own ?? [("format", "pt")]).filter { !$0.key.hasPrefix("adapterkit.") }
        let earlier = own?.first { $0.key == "adapterkit.adapters" }.flatMap { entry -> [JSONValue]? in
            guard case .array(let items)? = try? JSONValue.parse(Array(entry.value.utf8)) else { return nil }
            return items
        }
        let adapters =
            (earlier ?? [])
            + inputs.enumerated().map { at, input in
                JSONValue.object(
                    JSONObject([
                        ("name", .string(input.path)), ("sha256", .string(found?.adapters[at] ?? Self.blank)),
                        ("weight", .number(JSONNumber(text: Self.text(input.weight)))),
                    ]))
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

    private static func text(_ weight: Double) -> String {
        weight == weight.rounded() && abs(weight) < 1e15 ? String(Int(weight)) : String(weight)
    }

    /// The digest of an adapter: SHA-256 of what `sha256sum adapter_config.json adapter_model.safetensors` prints.
    static func digest(of adapter: Adapter, progress: (Int) -> Void = { _ in }) throws(Problem) -> String {
        let config = manifestLine(digest: SHA256.hex(adapter.configBytes), name: "adapter_config.json")
        let tensors = manifestLine(
            digest: try SHA256.hex(of: adapter.file.file, progress: progress), name: "adapter_model.safetensors")
        return SHA256.hex(Array((config + tensors).utf8))
    }
}
