/// Names of the tensors of a model of the Llama family, as transformers has them.
public enum LlamaNames {
    /// The embedding (vocabulary × hidden).
    public static let embedding = "model.embed_tokens.weight"
    /// The norm after the last block (hidden).
    public static let finalNorm = "model.norm.weight"
    /// The head (vocabulary × hidden), unless it is the embedding.
    public static let head = "lm_head.weight"
    /// The path of block `layer`.
    public static func layer(_ layer: Int) -> String { "model.layers.\(layer)" }
    /// Linear modules of a block, by their path within it, in the order in which they compute.
    public static let linear = [
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
        "mlp.down_proj",
    ]
    /// Norms of a block, by their path within it.
    public static let norms = ["input_layernorm", "post_attention_layernorm"]

    /// (out × in) of a linear module of a block.
    public static func shape(of module: String, _ config: LlamaConfig) -> [Int]? {
        switch module {
        case "self_attn.q_proj": [config.queryWidth, config.hidden]
        case "self_attn.k_proj", "self_attn.v_proj": [config.keyWidth, config.hidden]
        case "self_attn.o_proj": [config.hidden, config.queryWidth]
        case "mlp.gate_proj", "mlp.up_proj": [config.intermediate, config.hidden]
        case "mlp.down_proj": [config.hidden, config.intermediate]
        default: nil
        }
    }

    /// Whether a linear module of a block has a bias.
    public static func hasBias(_ module: String, _ config: LlamaConfig) -> Bool {
        switch module {
        case "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj": config.hasQueryBias
        case "self_attn.o_proj": config.hasOutputBias
        default: config.hasMLPBias
        }
    }
}
