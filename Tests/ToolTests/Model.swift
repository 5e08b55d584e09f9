import Fixtures
import Foundation

/// A made-up Llama of two layers, to be changed before it is written.
struct Model {
    static let linear: [(path: String, out: Int, into: Int)] = (0..<2).flatMap { layer in
        [("q_proj", 8, 6), ("k_proj", 4, 6), ("o_proj", 6, 8)].map { ("model.layers.\(layer).self_attn.\($0)", $1, $2) }
    }

    var tensors: [TensorFile.Tensor]
    let isTied: Bool

    /// Weights are multiples of 1/8 below 4, so that small whole numbers are added to them exactly.
    init(tied: Bool = false) {
        var random = SeededRandom(11)
        func tensor(_ name: String, _ shape: Int...) -> TensorFile.Tensor {
            let count = shape.reduce(1, *)
            return TensorFile.Tensor(name, "F32", shape, (0..<count).map { _ in Double(random.below(64)) / 8 - 4 })
        }
        tensors = [tensor("model.embed_tokens.weight", 10, 6)]
        for module in Self.linear { tensors.append(tensor(module.path + ".weight", module.out, module.into)) }
        for layer in 0..<2 {
            tensors.append(tensor("model.layers.\(layer).self_attn.q_proj.bias", 8))
            tensors.append(tensor("model.layers.\(layer).input_layernorm.weight", 6))
        }
        if !tied { tensors.append(tensor("lm_head.weight", 10, 6)) }
        isTied = tied
    }

    subscript(name: String) -> TensorFile.Tensor? { tensors.first { $0.name == name } }

    /// Changes the values of one tensor.
    mutating func change(_ name: String, _ body: (inout [Double]) -> Void) {
        for at in tensors.indices where tensors[at].name == name {
            var values = tensors[at].values
            body(&values)
            tensors[at] = TensorFile.Tensor(name, tensors[at].dtype, tensors[at].shape, values)
        }
    }

    /// Adds a matrix to a weight.
    mutating func add(_ delta: Matrix, to module: String) {
        change(module + ".weight") { $0 = zip($0, delta.values).map(+) }
    }

    /// Writes the model; its path.
    func write(as name: String, in scratch: Scratch) throws -> String {
        let directory = try scratch.directory(name)
        try TensorFile(tensors).write(to: directory + "/model.safetensors")
        let config: [String: Any] = [
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "tie_word_embeddings": isTied,
        ]
        try Fixtures.write(
            [UInt8](try JSONSerialization.data(withJSONObject: config, options: [.sortedKeys])),
            to: directory + "/config.json")
        return directory
    }
}

/// Checks that two checkpoints differ by no more than 10⁻⁶ of each tensor's largest weight; what differs more.
func farApart(_ found: [String: TensorFile.Tensor], _ wanted: [String: TensorFile.Tensor]) -> [String] {
    guard Set(found.keys) == Set(wanted.keys) else {
        return Set(found.keys).symmetricDifference(wanted.keys).map { "only one has \($0)" }
    }
    return wanted.compactMap { name, tensor in
        guard let own = found[name], own.shape == tensor.shape, own.dtype == tensor.dtype else {
            return "\(name): shape"
        }
        if own.bytes == tensor.bytes { return nil }
        let distance = zip(own.values, tensor.values).map { abs($0 - $1) }.max() ?? 0
        let largest = tensor.values.map(\.magnitude).max() ?? 0
        return distance <= 1e-6 * largest ? nil : "\(name) is \(distance) away"
    }
}
