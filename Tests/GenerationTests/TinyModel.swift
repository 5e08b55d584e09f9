import Fixtures
import Foundation

/// A random model of the Llama family, small enough for tests, and adapters for it.
struct TinyModel {
    var config: [String: Any] = [
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 256, "hidden_size": 16,
        "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5, "max_position_embeddings": 64, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": false,
    ]
    var tensors: [TensorFile.Tensor] = []

    /// Weights between -0.5 and 0.5, in `dtype`.
    init(seed: UInt64 = 1, dtype: String = "F32") {
        var random = SeededRandom(seed)
        func add(_ name: String, _ shape: [Int]) {
            let isNorm = shape.count == 1
            let values = random.numbers(shape.reduce(1, *), size: 0.5).map { isNorm ? 1 + $0 : $0 }
            tensors.append(TensorFile.Tensor(name, dtype, shape, values))
        }
        add("model.embed_tokens.weight", [256, 16])
        for layer in 0..<2 {
            let path = "model.layers.\(layer)."
            for (name, shape) in Self.linear { add(path + name + ".weight", shape) }
            add(path + "input_layernorm.weight", [16])
            add(path + "post_attention_layernorm.weight", [16])
        }
        add("model.norm.weight", [16])
        add("lm_head.weight", [256, 16])
    }

    static let linear: [(String, [Int])] = [
        ("self_attn.q_proj", [16, 16]), ("self_attn.k_proj", [8, 16]), ("self_attn.v_proj", [8, 16]),
        ("self_attn.o_proj", [16, 16]), ("mlp.gate_proj", [24, 16]), ("mlp.up_proj", [24, 16]),
        ("mlp.down_proj", [16, 24]),
    ]

    /// Writes the model; its path.
    @discardableResult func write(as name: String = "base", in scratch: Scratch) throws -> String {
        try scratch.directory(name)
        try scratch.write("\(name)/model.safetensors", TensorFile(tensors).encoded)
        try scratch.write("\(name)/config.json", Self.json(config))
        return scratch(name)
    }

    static func json(_ object: [String: Any]) throws -> [UInt8] {
        [UInt8](try JSONSerialization.data(withJSONObject: object, options: [.sortedKeys]))
    }

    /// A LoRA adapter of rank 2 on q and down of both layers; its path.
    static func lora(as name: String, seed: UInt64, in scratch: Scratch) throws -> String {
        var random = SeededRandom(seed)
        var tensors: [TensorFile.Tensor] = []
        for layer in 0..<2 {
            for (module, shape) in linear where ["self_attn.q_proj", "mlp.down_proj"].contains(module) {
                let path = "base_model.model.model.layers.\(layer).\(module).lora_"
                tensors.append(.init(path + "A.weight", "F32", [2, shape[1]], random.numbers(2 * shape[1])))
                tensors.append(.init(path + "B.weight", "F32", [shape[0], 2], random.numbers(2 * shape[0])))
            }
        }
        return try adapter(
            name, ["peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "down_proj"]], tensors,
            in: scratch)
    }

    /// A prefix of some virtual tokens; its path.
    static func prefix(
        as name: String, seed: UInt64, tokens: Int = 3, width: Int = 32, in scratch: Scratch
    ) throws -> String {
        var random = SeededRandom(seed)
        return try adapter(
            name, ["peft_type": "PREFIX_TUNING", "num_virtual_tokens": tokens],
            [.init("prompt_embeddings", "F32", [tokens, width], random.numbers(tokens * width))], in: scratch)
    }

    /// Bottlenecks of two numbers behind all attentions and MLPs, with `config` in their config; its path.
    static func bottleneck(
        as name: String, seed: UInt64, config: [String: Any] = ["non_linearity": "relu"], in scratch: Scratch
    ) throws -> String {
        var random = SeededRandom(seed)
        var tensors: [TensorFile.Tensor] = []
        for layer in 0..<2 {
            for place in ["attention_adapters", "output_adapters"] {
                let path = "model.layers.\(layer).\(place).adapters.style."
                tensors.append(.init(path + "adapter_down.0.weight", "F32", [2, 16], random.numbers(32)))
                tensors.append(.init(path + "adapter_down.0.bias", "F32", [2], random.numbers(2)))
                tensors.append(.init(path + "adapter_up.weight", "F32", [16, 2], random.numbers(32)))
                tensors.append(.init(path + "adapter_up.bias", "F32", [16], random.numbers(16)))
            }
        }
        return try adapter(
            name, ["config": config, "name": "style"], tensors, in: scratch, file: "adapter.safetensors")
    }

    private static func adapter(
        _ name: String, _ config: [String: Any], _ tensors: [TensorFile.Tensor], in scratch: Scratch,
        file: String = "adapter_model.safetensors"
    ) throws -> String {
        try scratch.directory(name)
        try scratch.write("\(name)/\(file)", TensorFile(tensors).encoded)
        try scratch.write("\(name)/adapter_config.json", json(config))
        return scratch(name)
    }
}
