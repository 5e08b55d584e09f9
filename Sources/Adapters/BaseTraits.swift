import Problems
import Safetensors
import StrictJSON

/// What the base's config and names say about its architecture, as far as a merge depends on it.
public struct BaseTraits: Sendable {
    /// `model_type` of config.json.
    public let modelType: String?
    /// `architectures` of config.json.
    public let architectures: [String]
    /// Whether the output head shares the input embedding's weights.
    public let isTied: Bool
    /// `quantization_config`, if there is one.
    public let quantization: JSONObject?
    /// Rows and columns of a block that shares one scale in an FP8 checkpoint.
    public let scaleBlock: (rows: Int, columns: Int)?
    /// `_name_or_path`, which older configs carry.
    public let name: String?
    /// `model_type` of the models within it: encoder, decoder, text or vision model.
    let innerTypes: Set<String>
    /// How the architecture names head and embedding, if it is one of transformers' that can tie them.
    let tie: TiedArchitectures.Row?
    /// Whether it is a pipeline or a component of diffusers all of whose linear layers are stored (out × in).
    let isDiffusers: Bool

    /// Models whose projections are `Conv1D` (in × out) in transformers.
    private static let conv1D: Set<String> = ["gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp"]
    /// Models whose fused experts are stored (expert × in × out).
    private static let transposedExperts: Set<String> = [
        "gpt_oss", "aria", "aria_text", "openai_privacy_filter", "qwen3_vl_moe",
    ]
    /// Models whose class ties its weights whatever `tie_word_embeddings` says: T5 1.1 means another thing by it.
    ///
    /// Found by asking each config class of transformers 5.23 for an untied one.
    private static let alwaysTied: Set<String> = [
        "t5", "mt5", "umt5", "longt5", "pop2piano", "udop", "shieldgemma2", "hunyuan_vl", "paddleocr_vl",
    ]
    /// Names that output heads go by.
    static let headNames: Set<String> = ["lm_head", "embed_out", "output", "output_projection", "proj_out"]
    /// Names that input embeddings go by.
    static let embeddingNames: Set<String> = [
        "embed_tokens", "wte", "word_embeddings", "embed_in", "tok_embeddings", "shared", "embeddings", "tokens_embed",
    ]

    /// Reads the config and names of `checkpoint`.
    public init(_ checkpoint: Checkpoint) {
        let config = checkpoint.config?.object
        let text = config?["text_config"]?.object
        modelType = config?["model_type"]?.string
        if case .array(let items)? = config?["architectures"] {
            architectures = items.compactMap(\.string)
        } else {
            architectures = []
        }
        let parts = checkpoint.components.compactMap { $0.config?.object?["model_type"]?.string }
        isDiffusers =
            modelType == nil && (checkpoint.isPipeline || config?["_class_name"]?.string != nil)
            && !parts.contains(where: Self.conv1D.contains)
        // One quantised component decides for all of a pipeline.
        let configs = [config, text] + checkpoint.components.map { $0.config?.object }
        quantization = configs.lazy.compactMap { $0?["quantization_config"]?.object }.first
        if case .array(let items)? = quantization?["weight_block_size"], items.count == 2,
            let rows = items[0].number?.int, let columns = items[1].number?.int, rows > 0, columns > 0
        {
            scaleBlock = (rows, columns)
        } else {
            scaleBlock = nil
        }
        name = config?["_name_or_path"]?.string
        innerTypes = Set((config?.entries ?? []).compactMap { $0.value.object?["model_type"]?.string })
        tie = architectures.lazy.compactMap(Self.tie).first
        isTied = Self.tied(config, text, architectures, tie, checkpoint)
    }

    private static func tie(of architecture: String) -> TiedArchitectures.Row? {
        TiedArchitectures.rows.first { $0.has(architecture) }
    }

    /// transformers leaves `tie_word_embeddings` out where it has the default, which is true for most families.
    private static func tied(
        _ config: JSONObject?, _ text: JSONObject?, _ architectures: [String], _ tie: TiedArchitectures.Row?,
        _ checkpoint: Checkpoint
    ) -> Bool {
        let hasHead = ["LMHead", "ForCausalLM", "ForConditionalGeneration", "ForMaskedLM"]
        guard tie != nil || architectures.contains(where: { name in hasHead.contains { name.contains($0) } }) else {
            return false
        }
        if let type = config?["model_type"]?.string, alwaysTied.contains(type) { return true }
        if case .bool(let flag)? = config?["tie_word_embeddings"] ?? text?["tie_word_embeddings"] { return flag }
        if let tie { return checkpoint.lookup(tie.head) == nil && checkpoint.lookup(tie.memory) == nil }
        let storesHead = checkpoint.tensors.contains { entry in
            let parts = entry.info.name.split(separator: ".")
            return parts.count > 1 && headNames.contains(String(parts[parts.count - 2]))
        }
        return !storesHead
    }

    /// Whether the first dimension of the module's weight is the vocabulary, which an adapter may resize.
    func hasVocabulary(_ module: String) -> Bool {
        if let tie {
            let weight = module + ".weight"
            if [tie.head, tie.memory].contains(where: { $0 == weight || weight.hasSuffix("." + $0) }) { return true }
            if weight == tie.embedding || weight.hasSuffix("." + tie.embedding) { return true }
        }
        let last = Self.lastPart(module)
        return Self.embeddingNames.contains(last) || Self.headNames.contains(last)
    }

    /// Whether the module is, by its name, the head of a classifier, whose size is the number of labels.
    public static func isClassifier(_ module: String) -> Bool {
        let parts = module.split(separator: ".")
        let names: Set<Substring> = ["classifier", "score", "cls_classifier", "distillation_classifier"]
        return parts.last.map(names.contains) == true || module == "classifier.out_proj"
    }

    /// Tensors that the architecture ties together with the head, and those that they share.
    var headCompanions: [(target: String, source: String)] {
        (tie?.companions ?? "").split(separator: " ").compactMap { pair in
            let ends = pair.split(separator: "=").map(String.init)
            return ends.count == 2 ? (ends[0], ends[1]) : nil
        }
    }

    /// Whether the module is an output head: a linear layer in every architecture.
    func isHead(_ module: String) -> Bool {
        if let tie, [tie.head, tie.memory].contains(module + ".weight") { return true }
        return Self.headNames.contains(Self.lastPart(module))
    }

    /// What comes behind the last dot.
    static func lastPart(_ path: String) -> String { path.split(separator: ".").last.map(String.init) ?? "" }

    /// Whether the module is, by its name alone, an input embedding or an output head.
    package static func isVocabulary(_ module: String) -> Bool {
        embeddingNames.contains(lastPart(module)) || headNames.contains(lastPart(module))
    }
    /// What comes behind the last dot.
    package static func leaf(_ path: String) -> String { lastPart(path) }
    /// Whether the module is, by its name, an input embedding or an output head.
    package func mayHaveVocabulary(_ module: String) -> Bool { hasVocabulary(module) }
    /// Whether the module is an output head.
    package func isOutputHead(_ module: String) -> Bool { isHead(module) }
    /// The names of head and embedding where the architecture is known to tie them: as stored, and in memory.
    package var tiedNames: (head: String, memory: String)? {
        tie.map { ($0.head, $0.memory.isEmpty ? $0.head : $0.memory) }
    }
    /// Tensors that the architecture ties together with the head, with those that they share.
    package var sharedWithHead: [(target: String, source: String)] { headCompanions }
    /// Further modules that use the embedding of an encoder-decoder model, in the names that the model has in memory.
    package func furtherEmbeddings(_ embedding: String) -> [String] {
        guard tie?.isSharedFurther == true, Self.lastPart(embedding) == "shared" else { return [] }
        let stem = embedding.dropLast("shared".utf8.count)
        return ["encoder", "decoder"].map { "\(stem)\($0).embed_tokens" }
    }

    /// Attention heads, and those of keys and values, as the config of a language model gives them; 0 where it gives none.
    package static func heads(_ config: JSONObject?) -> (queries: Int, keys: Int) {
        let text = config?["text_config"]?.object ?? config
        let queries = (text?["num_attention_heads"] ?? text?["n_head"])?.number?.int ?? 0
        let keys = (text?["num_key_value_heads"] ?? text?["num_kv_heads"] ?? text?["n_head_kv"])?.number?.int
        return (queries, keys ?? queries)
    }

    /// Whether a weight of the module at `path` is stored (in × out).
    package func isStoredTransposed(_ path: String, isExperts: Bool) -> Bool {
        if isExperts { return usesTransposedExperts }
        return usesConv1D && !hasVocabulary(path) && !isHead(path) && !Self.isClassifier(path)
    }

    var usesConv1D: Bool { modelType.map(Self.conv1D.contains) ?? false }
    /// Whether linear layers may be stored (in × out): not in transformers' models other than those.
    var mayUseConv1D: Bool {
        !isDiffusers && (modelType == nil || usesConv1D || !innerTypes.isDisjoint(with: Self.conv1D))
    }
    var usesTransposedExperts: Bool { modelType.map(Self.transposedExperts.contains) ?? false }

    /// The method of an integer-quantised base, which cannot be merged into.
    var refusedQuantization: String? {
        guard let quantization else { return nil }
        let method = quantization["quant_method"]?.string ?? "unknown"
        if ["fp8", "fbgemm_fp8"].contains(method) { return nil }
        if method == "compressed-tensors", quantization["format"]?.string == "float-quantized" { return nil }
        return method
    }
}

extension TiedArchitectures.Row {
    /// Whether the class is one of the row's; a quick look, since every start of a tool takes it.
    fileprivate func has(_ name: String) -> Bool {
        let (list, wanted) = (classes.utf8Span.span, name.utf8Span.span)
        guard !wanted.isEmpty else { return false }
        var at = 0
        while at + wanted.count <= list.count {
            var end = at
            while end < list.count, list[end] != UInt8(ascii: " "), list[end] != UInt8(ascii: "\n") { end += 1 }
            if end - at == wanted.count {
                var same = 0
                while same < wanted.count, wanted[same] == list[at + same] { same += 1 }
                if same == wanted.count { return true }
            }
            at = end + 1
        }
        return false
    }
}
