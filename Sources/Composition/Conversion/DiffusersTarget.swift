import Adapters
import Problems
import Safetensors
import StrictJSON

/// Writes diffusers' `pytorch_lora_weights.safetensors`: PEFT's names behind the component's, and a LoraConfig for each component
/// in the metadata.
struct DiffusersTarget: ConvertTarget {
    let name = "diffusers"
    let features: Set<ConvertFeature> = [.dora, .upBias, .convolution]

    func files(_ plan: ConvertPlan) throws -> ConvertedFiles {
        var files = ConvertedFiles(name: "pytorch_lora_weights.safetensors")
        if let module = plan.modules.first(where: { $0.component == nil }) {
            throw Problem(
                .incompatible, "needs-component", file: plan.adapter.file.path,
                "does not say which part of a pipeline '\(module.path)' belongs to, and diffusers' names begin with it",
                hint: "say --component unet (or transformer, text_encoder, ...), or name the pipeline with --base")
        }
        for module in plan.modules { files.add(tensors(module, plan)) }
        var fields: [(String, JSONValue)] = []
        for component in Set(plan.modules.compactMap(\.component)).sorted() {
            let own = plan.modules.filter { $0.component == component }
            fields += config(own).map { ("\(component).\($0.0)", $0.1) }
        }
        let text = JSONValue.object(JSONObject(fields.sorted { $0.0 < $1.0 })).encoded(indent: 2, asciiOnly: true)
        files.metadata = [("format", "pt"), ("lora_adapter_metadata", text)] + plan.carriedMetadata
        return files
    }

    private func tensors(_ module: ConvertedModule, _ plan: ConvertPlan) -> [ConvertedTensor] {
        let stem = "\(module.component ?? "").\(module.path)"
        let (down, up) = (plan.downType(module), plan.upType(module))
        var result = [
            ConvertedTensor(name: stem + ".lora_A.weight", dtype: down, shape: module.downShape) { () throws(Problem) in
                try plan.down(module, down)
            },
            ConvertedTensor(name: stem + ".lora_B.weight", dtype: up, shape: module.upShape) { () throws(Problem) in
                try plan.up(module, times: 1, up)
            },
        ]
        if let magnitude = module.magnitude {
            let outputs = magnitude.elementCount
            let rest = module.kind == .convolution ? [Int](repeating: 1, count: module.downShape.count - 2) : []
            result.append(
                plan.whole(
                    magnitude, name: stem + ".lora_magnitude_vector",
                    shape: rest.isEmpty ? [outputs] : [1, outputs] + rest))
        }
        if let bias = module.upBias { result.append(plan.whole(bias, name: stem + ".lora_B.bias")) }
        return result
    }

    private func config(_ modules: [ConvertedModule]) -> [(String, JSONValue)] {
        var config = ResultConfig()
        config["use_dora"] = .bool(modules.contains { $0.magnitude != nil })
        config["lora_bias"] = .bool(modules.contains { $0.upBias != nil })
        config["target_modules"] = ResultConfig.texts(modules.map { Self.matched($0.path) }.sorted())
        config.setScales(modules.map { (Self.matched($0.path), $0.rank, $0.scale) })
        let kept = [
            "r", "lora_alpha", "rank_pattern", "alpha_pattern", "target_modules", "use_dora", "use_rslora", "lora_bias",
            "bias", "peft_type",
        ]
        return kept.compactMap { key in config[key].map { (key, $0) } }
    }

    /// What the config calls a module: CLIP's `text_model` is left out, which transformers has dropped from its paths, since
    /// PEFT also matches the end of a path, and diffusers takes it from the names of tensors but not from the config.
    private static func matched(_ path: String) -> String {
        path.hasPrefix("text_model.") ? String(path.dropFirst("text_model.".count)) : path
    }
}
