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

    /// Models whose projections are `Conv1D` (in × out) in transformers.
    private static let conv1D: Set<String> = ["gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp"]
    /// Models whose fused experts are stored (expert × in × out).
    private static let transposedExperts: Set<String> = ["gpt_oss", "aria", "aria_text", "openai_privacy_filter"]
    /// Names that output heads go by.
    static let headNames: Set<String> = ["lm_head", "embed_out", "output", "output_projection"]
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
        quantization = config?["quantization_config"]?.object ?? text?["quantization_config"]?.object
        if case .array(let items)? = quantization?["weight_block_size"], items.count == 2,
            let rows = items[0].number?.int, let columns = items[1].number?.int, rows > 0, columns > 0
        {
            scaleBlock = (rows, columns)
        } else {
            scaleBlock = nil
        }
        name = config?["_name_or_path"]?.string
        isTied = Self.tied(config, text, architectures, checkpoint)
    }

    /// transformers leaves `tie_word_embeddings` out where it has the default, which is true for most families.
    private static func tied(
        _ config: JSONObject?, _ text: JSONObject?, _ architectures: [String], _ checkpoint: Checkpoint
    ) -> Bool {
        let hasHead = ["LMHead", "ForCausalLM", "ForConditionalGeneration", "ForMaskedLM"]
        guard architectures.contains(where: { name in hasHead.contains { name.contains($0) } }) else { return false }
        if case .bool(let flag)? = config?["tie_word_embeddings"] ?? text?["tie_word_embeddings"] { return flag }
        let storesHead = checkpoint.tensors.contains { entry in
            let parts = entry.info.name.split(separator: ".")
            return parts.count > 1 && headNames.contains(String(parts[parts.count - 2]))
        }
        return !storesHead
    }

    var usesConv1D: Bool { modelType.map(Self.conv1D.contains) ?? false }
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
