import Problems
import Safetensors
import StrictJSON

/// What a checkpoint, or any safetensors file, holds, from headers and config alone.
public struct CheckpointFacts: Sendable {
    /// The checkpoint.
    public let checkpoint: Checkpoint
    /// What its config says about its architecture.
    public let traits: BaseTraits
    /// Pairs of `__metadata__` of all its files, sorted by key; of different values the first file's.
    public let metadata: [(key: String, value: String)]
    /// Where it came from, if it says that it is a merge.
    public let merge: RecordedMerge?
    /// What kind of adapter the names of the tensors are those of, though nothing else says so: `PEFT LoRA`.
    public let adapterDialect: String?

    /// Reads the facts of `checkpoint`.
    public init(_ checkpoint: Checkpoint) {
        self.checkpoint = checkpoint
        traits = BaseTraits(checkpoint)
        var pairs: [String: String] = [:]
        for shard in checkpoint.shards {
            for pair in shard.file.header.metadata ?? [] where pairs[pair.key] == nil { pairs[pair.key] = pair.value }
        }
        metadata = pairs.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        merge = RecordedMerge(pairs)
        adapterDialect = Self.adapterDialect(of: checkpoint)
    }

    /// All tensors.
    public var tensors: [TensorInfo] { checkpoint.tensors.map(\.info) }
    /// Elements of all tensors.
    public var elementCount: Int { checkpoint.tensors.reduce(0) { $0 + $1.info.elementCount } }
    /// Bytes of all tensors.
    public var byteCount: Int { checkpoint.tensors.reduce(0) { $0 + $1.info.byteCount } }
    /// The tensors by dtype, the largest share first.
    public var dtypes: [DTypeShare] { DTypeShare.of(tensors) }
    /// The layers that have tensors.
    public var layers: [LayerSet] { LayerSet.of(checkpoint.tensors.lazy.map(\.info.name)) }
    /// Whether it is a model, as a config beside the tensors says.
    public var isModel: Bool { checkpoint.config != nil }

    /// The input embedding: the largest matrix that goes by such a name.
    public var embedding: TensorInfo? {
        candidates(BaseTraits.embeddingNames).max { $0.elementCount < $1.elementCount }
    }

    /// The output head, if it is stored.
    public var head: TensorInfo? {
        candidates(BaseTraits.headNames).first { $0.shape.first == embedding?.shape.first }
    }

    private func candidates(_ names: Set<String>) -> [TensorInfo] {
        tensors.filter { info in
            guard info.shape.count == 2, info.name.hasSuffix(".weight") else { return false }
            return info.name.split(separator: ".").dropLast().last.map { names.contains(String($0)) } ?? false
        }
    }

    /// How the weights are quantised, in words; `nil` if they are not.
    public var quantization: String? {
        guard let config = traits.quantization else { return nil }
        var parts = [config["quant_method"]?.string ?? "quantised"]
        if let format = config["format"]?.string { parts.append(format) }
        if let bits = (config["bits"] ?? config["w_bit"])?.number?.int { parts.append("\(bits) bits") }
        if case .bool(true)? = config["load_in_4bit"] { parts.append("4 bits") }
        if case .bool(true)? = config["load_in_8bit"] { parts.append("8 bits") }
        if let group = config["group_size"]?.number?.int, group > 0 { parts.append("groups of \(group)") }
        if let block = traits.scaleBlock { parts.append("blocks of \(block.rows) × \(block.columns)") }
        return parts.joined(separator: ", ")
    }

    private static func adapterDialect(of checkpoint: Checkpoint) -> String? {
        for entry in checkpoint.tensors where AdapterKey.mayBelongToAdapter(entry.info.name) {
            let key = AdapterKey(entry.info.name)
            switch key.role {
            case .down, .up, .embeddingDown, .embeddingUp: return key.hasPrefix ? "PEFT LoRA" : "diffusers or bare LoRA"
            case .tokenRows: return "PEFT trainable tokens"
            case .foreign(let stem) where !stem.isEmpty: return stem
            default: continue
            }
        }
        return nil
    }
}

/// What a component of a pipeline holds.
public struct ComponentFacts: Sendable {
    /// Its name.
    public let name: String
    /// Its class, as its config says.
    public let className: String?
    /// How many tensors it has.
    public let tensors: Int
    /// Their elements.
    public let elements: Int
    /// Its tensors by dtype, the largest share first.
    public let dtypes: [DTypeShare]
}

extension CheckpointFacts {
    /// The class of a pipeline, as `model_index.json` says.
    public var pipelineClass: String? {
        checkpoint.isPipeline ? checkpoint.config?.object?["_class_name"]?.string : nil
    }

    /// The components of a pipeline.
    public var components: [ComponentFacts] {
        checkpoint.components.map { component in
            let own = checkpoint.tensors.filter { component.shards.contains($0.shard) }.map(\.info)
            let config = component.config?.object
            let architecture = config?["architectures"]?.array?.first?.string
            return ComponentFacts(
                name: component.name, className: config?["_class_name"]?.string ?? architecture, tensors: own.count,
                elements: own.reduce(0) { $0 + $1.elementCount }, dtypes: DTypeShare.of(own))
        }
    }
}

/// Where a merged checkpoint says that it came from: the metadata keys `adapterkit.*`.
public struct RecordedMerge: Sendable, Equatable {
    /// One of the adapters.
    public struct Source: Sendable, Equatable {
        /// The last part of its path.
        public let name: String
        /// The digest of its files.
        public let digest: String
        /// What its delta was multiplied by.
        public let weight: Double
    }

    /// The version that merged.
    public let version: String
    /// SHA-256 of the base's tensor names, dtypes and shapes.
    public let base: String
    /// SHA-256 of the base's files, if they were recorded.
    public let baseFiles: [(name: String, digest: String)]
    /// The adapters in their order.
    public let adapters: [Source]

    init?(_ metadata: [String: String]) {
        guard let version = metadata["adapterkit.version"], let base = metadata["adapterkit.base"] else { return nil }
        self.version = version
        self.base = base
        let parse = { (key: String) in metadata[key].flatMap { try? JSONValue.parse(Array($0.utf8)) } }
        if case .array(let items)? = parse("adapterkit.adapters") {
            adapters = items.compactMap(\.object).map { item in
                Source(
                    name: item["name"]?.string ?? "", digest: item["sha256"]?.string ?? "",
                    weight: item["weight"]?.number?.double ?? .nan)
            }
        } else {
            adapters = []
        }
        baseFiles = (parse("adapterkit.base_sha256")?.object?.entries ?? []).map { ($0.key, $0.value.string ?? "") }
    }

    /// Reads what the first file of `base` says; in a pipeline, the first that says it.
    public init?(of base: Checkpoint) {
        let metadata = base.shards.lazy.map(\.file.header.metadata)
        let merged = metadata.compactMap { $0 }.first { $0.contains { $0.key == "adapterkit.version" } }
        guard let pairs = base.isPipeline ? merged : metadata.first ?? nil else { return nil }
        self.init(Dictionary(pairs.map { ($0.key, $0.value) }) { first, _ in first })
    }

    /// Compares all that was recorded.
    public static func == (a: RecordedMerge, b: RecordedMerge) -> Bool {
        a.version == b.version && a.base == b.base && a.adapters == b.adapters
            && a.baseFiles.elementsEqual(b.baseFiles) { $0 == $1 }
    }
}
