import Adapters
import Problems
import Safetensors
import StrictJSON

/// Writes mlx-lm's `adapters.safetensors` and `adapter_config.json`: transposed factors, one rank and one scale for all.
///
/// Smaller ranks are filled up with zeros and other scales become part of `lora_b`, since the config has room for one of each.
struct MLXTarget: ConvertTarget {
    let name = "MLX"
    let features: Set<ConvertFeature> = [.dora, .embedding]

    func files(_ plan: ConvertPlan) throws -> ConvertedFiles {
        var files = ConvertedFiles(name: "adapters.safetensors")
        let isDoRA = plan.modules.contains { $0.magnitude != nil }
        if isDoRA, let plain = plan.modules.first(where: { $0.magnitude == nil }) {
            throw Problem(
                .incompatible, "mixed-dora", file: plan.adapter.file.path,
                "has DoRA magnitudes for some modules but none for '\(plain.path)', and mlx-lm makes all of them DoRA or none",
                hint: "merge it into its base instead: adapter-merge")
        }
        let rank = plan.modules.map(\.rank).max() ?? 1
        let scale = Self.usual(plan.modules.map(\.scale), else: 1)
        for module in plan.modules {
            let factor = module.scale / scale
            if factor != 1 { files.folded += 1 }
            files.add(tensors(module, plan, rank, factor))
        }
        files.metadata = plan.carriedMetadata.isEmpty ? nil : plan.carriedMetadata
        files.others = [("adapter_config.json", config(plan, rank, scale, isDoRA))]
        return files
    }

    private func tensors(_ module: ConvertedModule, _ plan: ConvertPlan, _ rank: Int, _ factor: Double)
        -> [ConvertedTensor]
    {
        let (down, up) = (plan.downType(module), plan.upType(module, times: factor))
        let (own, inputs, outputs) = (module.rank, module.downShape[1], module.upShape[0])
        var result = [
            ConvertedTensor(name: module.path + ".lora_a", dtype: down, shape: [inputs, rank]) { () throws(Problem) in
                let size = down.bits / 8
                let padding = [UInt8](repeating: 0, count: (rank - own) * inputs * size)
                return try (plan.down(module, down) + padding).transposed(rows: rank, columns: inputs, size: size)
            },
            ConvertedTensor(name: module.path + ".lora_b", dtype: up, shape: [rank, outputs]) { () throws(Problem) in
                let size = up.bits / 8
                let turned = try plan.up(module, times: factor, up).transposed(rows: outputs, columns: own, size: size)
                return turned + [UInt8](repeating: 0, count: (rank - own) * outputs * size)
            },
        ]
        if let magnitude = module.magnitude {
            result.append(plan.whole(magnitude, name: module.path + ".m", shape: [magnitude.elementCount], dtype: .f32))
        }
        return result
    }

    private func config(_ plan: ConvertPlan, _ rank: Int, _ scale: Double, _ isDoRA: Bool) -> [UInt8] {
        // mlx-lm looks for these within each layer, and in the whole model for what is in no layer.
        let keys = Set(plan.modules.map { Self.key($0.path) }).sorted()
        var fields = JSONObject([
            ("fine_tune_type", .string(isDoRA ? "dora" : "lora")),
            (
                "lora_parameters",
                .object(
                    JSONObject([
                        ("dropout", ResultConfig.number(0)), ("keys", ResultConfig.texts(keys)),
                        ("rank", ResultConfig.number(Double(rank))), ("scale", ResultConfig.number(scale)),
                    ]))
            ),
        ])
        if let model = plan.adapter.config.baseModel { fields["model"] = .string(model) }
        // All layers: those without weights here keep what mlx-lm begins with, a delta of zero.
        fields["num_layers"] = ResultConfig.number(-1)
        return Array((JSONValue.object(fields).encoded(indent: 4) + "\n").utf8)
    }

    /// The path within a layer, or the whole path where it is in none.
    private static func key(_ path: String) -> String {
        let place = NamePlace(path)
        return place.layer == nil ? path : place.kind
    }
}
