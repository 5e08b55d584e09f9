import Fixtures
import Problems
import Safetensors
import StrictJSON

@testable import Adapters

/// A small base and an adapter for it, to be damaged.
struct Made {
    /// Tensors by name: dtype and shape; the data are ones.
    typealias Tensors = [(name: String, dtype: String, shape: [Int])]

    let scratch: Scratch
    var base: Tensors
    var adapter: Tensors
    var config: [String: String]
    var baseConfig = #"{"model_type":"llama","architectures":["LlamaForCausalLM"],"tie_word_embeddings":false}"#

    static let prefix = "base_model.model.model.layers."

    /// Two layers with q (12 × 8), v (4 × 8), o (8 × 8) projections; LoRA of rank 2 on q and v.
    init() throws {
        scratch = try Scratch()
        base = [("model.embed_tokens.weight", "F32", [16, 8]), ("lm_head.weight", "F32", [16, 8])]
        adapter = []
        for layer in 0..<2 {
            for (name, rows) in [("q_proj", 12), ("v_proj", 4), ("o_proj", 8)] {
                base.append(("model.layers.\(layer).self_attn.\(name).weight", "F32", [rows, 8]))
                if name == "o_proj" { continue }
                adapter.append((Self.prefix + "\(layer).self_attn.\(name).lora_A.weight", "F32", [2, 8]))
                adapter.append((Self.prefix + "\(layer).self_attn.\(name).lora_B.weight", "F32", [rows, 2]))
            }
        }
        config = ["peft_type": #""LORA""#, "r": "2", "lora_alpha": "4", "target_modules": #"["q_proj","v_proj"]"#]
    }

    /// The place of an adapter tensor.
    func place(_ suffix: String) -> Int { adapter.firstIndex { $0.name.hasSuffix(suffix) } ?? 0 }

    /// A file of tensors of ones.
    static func file(_ tensors: Tensors) -> [UInt8] {
        TensorFile(
            tensors.map { entry in
                let count = DType(rawValue: entry.dtype).flatMap { DType.byteCount(entry.shape, $0) } ?? 0
                return .init(entry.name, entry.dtype, entry.shape, bytes: [UInt8](repeating: 0x3C, count: count))
            }
        ).encoded
    }

    /// Writes both; the paths of base and adapter.
    @discardableResult func write() throws -> (base: String, adapter: String) {
        try scratch.write("base/model.safetensors", Self.file(base))
        try scratch.write("base/config.json", baseConfig)
        try scratch.write("adapter/adapter_model.safetensors", Self.file(adapter))
        let fields = config.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\($0.value)" }
        try scratch.write("adapter/adapter_config.json", "{\(fields.joined(separator: ","))}")
        return (scratch("base"), scratch("adapter"))
    }

    func resolution() throws -> Resolution {
        let paths = try write()
        return Resolution(adapter: try Adapter(path: paths.adapter), base: try Checkpoint.open(path: paths.base))
    }
}

extension [Problem] {
    /// Severities and codes.
    var codes: [String] { map { "\($0.severity) \($0.code)" } }
    var errors: [Problem] { filter { $0.severity == .error } }
}
