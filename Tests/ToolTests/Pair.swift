import Fixtures
import Foundation

/// A small made-up base and a LoRA adapter for it, to be changed before they are written.
struct Pair {
    static let prefix = "base_model.model."
    /// Modules and the shapes of their weights.
    static let modules: [(name: String, out: Int, into: Int)] = ["0", "1"].flatMap { layer in
        [("q_proj", 8, 6), ("k_proj", 4, 6), ("v_proj", 4, 6), ("o_proj", 6, 8)].map {
            ("layers.\(layer).\($0.0)", $0.1, $0.2)
        }
    }

    var base: [TensorFile.Tensor]
    var adapter: [TensorFile.Tensor]
    var config: [String: Any]

    /// Rank 2 and alpha 4 on every module.
    init(dtype: String = "BF16", modules: [String] = Pair.modules.map(\.name)) {
        var random = SeededRandom(7)
        base = Self.modules.map { module in
            TensorFile.Tensor(
                module.name + ".weight", dtype, [module.out, module.into], random.numbers(module.out * module.into))
        }
        base.append(TensorFile.Tensor("norm.weight", dtype, [6], random.numbers(6)))
        adapter = Self.modules.filter { modules.contains($0.name) }.flatMap { module in
            [
                TensorFile.Tensor(
                    Self.key(module.name, "A"), "F32", [2, module.into], random.numbers(2 * module.into)),
                TensorFile.Tensor(Self.key(module.name, "B"), "F32", [module.out, 2], random.numbers(2 * module.out)),
            ]
        }
        config = [
            "peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "base",
            "target_modules": Set(modules.map { String($0.split(separator: ".").last ?? "") }).sorted(),
        ]
    }

    /// The name of one half of a module's factors.
    static func key(_ module: String, _ half: String) -> String { "\(prefix)\(module).lora_\(half).weight" }

    /// Replaces a tensor of the adapter, or takes it away.
    mutating func set(_ name: String, _ tensor: TensorFile.Tensor?) {
        adapter = adapter.compactMap { $0.name == name ? tensor : $0 }
    }

    /// Changes a tensor of the adapter.
    mutating func change(_ name: String, _ body: (inout TensorFile.Tensor) -> Void) {
        for at in adapter.indices where adapter[at].name == name { body(&adapter[at]) }
    }

    /// Writes the base to `base/` and the adapter to `adapter/`.
    func write(in scratch: Scratch) throws -> (base: String, adapter: String) {
        let base = try scratch.directory("base")
        try TensorFile(self.base).write(to: base + "/model.safetensors")
        try Fixtures.write(
            Array(#"{"model_type": "made-up", "torch_dtype": "bfloat16"}"#.utf8), to: base + "/config.json")
        return (base, try writeAdapter(as: "adapter", in: scratch))
    }

    /// Writes the adapter alone.
    func writeAdapter(as name: String, in scratch: Scratch) throws -> String {
        let adapter = try scratch.directory(name)
        try TensorFile(self.adapter).write(to: adapter + "/adapter_model.safetensors")
        let text = try JSONSerialization.data(withJSONObject: config, options: [.prettyPrinted, .sortedKeys])
        try Fixtures.write([UInt8](text), to: adapter + "/adapter_config.json")
        return adapter
    }
}
