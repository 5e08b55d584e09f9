import Fixtures
import Foundation

/// A made-up checkpoint of any dtype and any layout, and adapters that fit it.
struct RandomModel {
    private struct Module {
        let path: String
        let out: Int
        let into: Int
    }

    let dtype: String
    private let modules: [Module]
    private let words: Int
    private let width: Int
    private let tensors: [TensorFile.Tensor]

    init(dtype: String, _ random: inout SeededRandom) {
        self.dtype = dtype
        words = 6 + random.below(10)
        width = 2 + random.below(9)
        let layers = 1 + random.below(3)
        var modules: [Module] = []
        for layer in 0..<layers {
            for name in ["q_proj", "k_proj", "o_proj"] {
                let other = 1 + random.below(12)
                let (out, into) = name == "o_proj" ? (width, other) : (other, width)
                modules.append(Module(path: "model.layers.\(layer).self_attn.\(name)", out: out, into: into))
            }
        }
        self.modules = modules
        // Small and large ones, so that the adapters' share is rounded away here and is all there is there.
        let size = random.pick([1, 0.02, 1e-5, 100.0])
        let isByte = dtype.hasPrefix("F8")
        var tensors = [
            TensorFile.Tensor(
                "model.embed_tokens.weight", isByte ? "BF16" : dtype, [words, width],
                random.numbers(words * width, size: size))
        ]
        for module in modules {
            var values = random.numbers(module.out * module.into, size: size)
            if random.below(4) == 0 {
                for at in values.indices where at % 3 == 0 { values[at] = at % 2 == 0 ? 0 : -0.0 }
            }
            tensors.append(.init(module.path + ".weight", dtype, [module.out, module.into], values))
        }
        for name in ["model.norm.weight", "model.layers.0.input_layernorm.weight"] {
            tensors.append(.init(name, isByte ? "F32" : dtype, [width], random.numbers(width, size: size)))
        }
        tensors.append(
            .init(
                "lm_head.weight", isByte ? "BF16" : dtype, [words, width], random.numbers(words * width, size: size)))
        self.tensors = tensors
    }

    /// Writes it with what else lies in such directories.
    func write(as name: String, in scratch: Scratch, _ random: inout SeededRandom) throws {
        let shards = random.below(3) == 0 ? 1 : 2 + random.below(3)
        var parts = [[TensorFile.Tensor]](repeating: [], count: shards)
        // Norms in a shard of their own are in a file that no adapter touches.
        let isApart = shards > 1 && random.below(2) == 0
        for tensor in tensors {
            let isNorm = tensor.name.contains("norm")
            parts[isApart ? isNorm ? 0 : 1 + random.below(shards - 1) : random.below(shards)].append(tensor)
        }
        parts = parts.filter { !$0.isEmpty }
        var map: [String: String] = [:]
        for (at, part) in parts.enumerated() {
            let file = shards == 1 ? "model.safetensors" : "model-0000\(at + 1)-of-0000\(parts.count).safetensors"
            try scratch.write(
                "\(name)/\(file)", TensorFile(part, metadata: random.below(4) == 0 ? [:] : ["format": "pt"]).encoded)
            for tensor in part { map[tensor.name] = file }
        }
        if shards > 1 {
            let total = tensors.reduce(0) { $0 + $1.bytes.count }
            let index: [String: Any] = ["metadata": ["total_size": total], "weight_map": map]
            try scratch.write(
                "\(name)/model.safetensors.index.json",
                [UInt8](try JSONSerialization.data(withJSONObject: index, options: .sortedKeys)))
        }
        try scratch.write(
            "\(name)/config.json",
            #"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "tie_word_embeddings": false}"#)
        for (file, text) in [
            ("tokenizer.json", "{}"), (".hidden", "h"), ("sub/deep/er/x", "x"), ("sub/.git", "g"),
            ("pytorch_model.bin", "old"),
            ("SHA256SUMS", "of the base\n"), ("README.md", "# é\n"), ("none", ""),
            ("sub/model.safetensors", "no model"),
        ] where random.below(2) == 0 { try scratch.write("\(name)/\(file)", text) }
        for path in ["empty", "sub/empty", ".e/f/g"] where random.below(3) == 0 {
            try scratch.directory("\(name)/\(path)")
        }
    }

    /// Writes an adapter of one of the kinds that there are.
    func writeAdapter(as name: String, in scratch: Scratch, _ random: inout SeededRandom) throws {
        let rank = 1 + random.below(4)
        let chosen = modules.filter { _ in random.below(3) > 0 }
        var factors = Factors(
            (chosen.isEmpty ? [modules[0]] : chosen).map {
                ($0.path, Matrix.random(rank, $0.into, &random), Matrix.random($0.out, rank, &random))
            }, alpha: Double(1 + random.below(8)))
        factors.dtype = random.pick(["F32", "BF16", "F16"])
        let prefix = Pair.prefix
        switch random.below(5) {
        case 0:
            factors.fields["use_dora"] = true
            for module in factors.modules {
                let values = random.numbers(module.b.rows).map { $0.magnitude + 0.1 }
                factors.others.append(
                    .init("\(prefix)\(module.path).lora_magnitude_vector", "F32", [values.count], values))
            }
        case 1:
            factors.fields["modules_to_save"] = ["lm_head"]
            factors.others.append(
                .init(
                    "\(prefix)lm_head.weight", dtype.hasPrefix("F8") ? "BF16" : dtype, [words, width],
                    random.numbers(words * width)))
        case 2:
            let key = "\(prefix)model.embed_tokens.lora_embedding_"
            factors.others += [
                .init(key + "A", factors.dtype, [rank, words], random.numbers(rank * words)),
                .init(key + "B", factors.dtype, [width, rank], random.numbers(width * rank)),
            ]
            let own = Set(factors.modules.map { String($0.path.split(separator: ".").last ?? "") })
            factors.fields["target_modules"] = own.sorted() + ["embed_tokens"]
        default: break
        }
        _ = try factors.write(as: name, in: scratch)
    }
}
