import Adapters
import Problems
import Safetensors
import StrictJSON
import Tensors

/// Writes the one file of kohya's sd-scripts: flattened names, an alpha beside each pair.
struct KohyaTarget: ConvertTarget {
    let name = "kohya"
    let features: Set<ConvertFeature> = [.dora, .convolution]

    func files(_ plan: ConvertPlan) throws -> ConvertedFiles {
        var files = ConvertedFiles(name: "adapter.safetensors")
        let components = Set(plan.modules.compactMap(\.component))
        let isSplit = components.contains("text_encoder_2") || plan.baseComponents.contains("text_encoder_2")
        var names: [String: String] = [:]
        for module in plan.modules {
            let flat = module.path.map { $0 == "." ? "_" : $0 }
            let isSame = plan.adapter.hasFlattenedNames
            let name = isSame ? module.path : Self.prefix(module.component, isSplit: isSplit) + flat
            if let other = names.updateValue(module.path, forKey: name) {
                throw Problem(
                    .incompatible, "ambiguous-module", file: plan.adapter.file.path,
                    "'\(other)' and '\(module.path)' are both '\(name)' in kohya's names, which have no dots",
                    hint: "this adapter cannot be said in kohya's dialect")
            }
            files.add(tensors(module, name, plan))
        }
        guard !plan.adapter.hasFlattenedNames else {
            files.metadata = plan.adapter.file.header.metadata
            return files
        }
        let map = names.sorted { $0.key < $1.key }.map { ($0.key, JSONValue.string($0.value)) }
        // Flattened names cannot be taken apart again without the base; this can.
        files.metadata = plan.carriedMetadata + [("adapterkit.modules", JSONValue.object(JSONObject(map)).encoded())]
        return files
    }

    /// What names of a component begin with.
    private static func prefix(_ component: String?, isSplit: Bool) -> String {
        switch component {
        case "unet": "lora_unet_"
        case "transformer": "lora_transformer_"
        case "text_encoder": isSplit ? "lora_te1_" : "lora_te_"
        case "text_encoder_2": "lora_te2_"
        case "text_encoder_3": "lora_te3_"
        default: "lycoris_"
        }
    }

    private func tensors(_ module: ConvertedModule, _ name: String, _ plan: ConvertPlan) -> [ConvertedTensor] {
        let (down, up) = (plan.downType(module), plan.upType(module))
        let alpha = module.scale * Double(module.rank)
        let type = Self.alphaType(alpha, down)
        var result = [
            ConvertedTensor(name: name + ".lora_down.weight", dtype: down, shape: module.downShape) {
                () throws(Problem) in
                try plan.down(module, down)
            },
            ConvertedTensor(name: name + ".lora_up.weight", dtype: up, shape: module.upShape) { () throws(Problem) in
                try plan.up(module, times: 1, up)
            },
            ConvertedTensor(name: name + ".alpha", dtype: type, shape: []) { () throws(Problem) in
                try TensorValues.rounded([alpha], to: type)
            },
        ]
        if let magnitude = module.magnitude {
            let shape = [magnitude.elementCount] + module.downShape.dropFirst().map { _ in 1 }
            result.append(plan.whole(magnitude, name: name + ".dora_scale", shape: shape))
        }
        return result
    }

    /// The factors' own type, as sd-scripts writes it, where that keeps alpha as it is.
    private static func alphaType(_ alpha: Double, _ dtype: DType) -> DType {
        let kept = (try? TensorValues.rounded([alpha], to: dtype)).flatMap { try? TensorValues.doubles($0, dtype) }
        return kept == [alpha] ? dtype : .f32
    }
}
