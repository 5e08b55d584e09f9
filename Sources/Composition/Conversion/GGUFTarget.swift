import Adapters
import GGUF
import Problems
import Safetensors
import StrictJSON

/// Writes LoRA for llama.cpp: one GGUF file with one alpha, GGUF's names, and rows of q and k in its order.
///
/// llama.cpp multiplies by alpha / rank of each tensor, so every other scale becomes part of B.
struct GGUFTarget: ConvertTarget {
    let name = "GGUF"
    let features: Set<ConvertFeature> = [.embedding]

    func files(_ plan: ConvertPlan) throws -> ConvertedFiles {
        let (architecture, heads) = try model(plan)
        var files = ConvertedFiles(name: "adapter.gguf")
        let alphas = plan.modules.map { $0.scale * Double($0.rank) }.filter { $0 != 0 }
        // An alpha of 0 would mean a scale of 1.
        let alpha = Float(Self.usual(alphas, else: 1))
        var entries: [GGUFWriter.Entry] = []
        for module in plan.modules {
            let factor = module.scale * Double(module.rank) / Double(alpha)
            if factor != 1 { files.folded += 1 }
            let stem = try name(module, architecture, plan)
            let order = RowPermutation(
                stem, architecture: architecture, heads: heads.queries, keyValueHeads: heads.keys)
            for tensor in try tensors(module, stem, order, factor, plan) {
                guard let type = Self.type(tensor.dtype) else {
                    throw Problem(
                        .incompatible, "bad-dtype", file: plan.adapter.file.path, tensor: tensor.name,
                        "would be \(tensor.dtype.rawValue), which GGUF adapters are not",
                        hint: "say --dtype float32, float16 or bfloat16")
                }
                entries.append(GGUFWriter.Entry(tensor.name, tensor.shape, type))
                files.tensors.append(tensor)
            }
            files.downNames.append(stem + ".lora_a")
        }
        files.gguf = try GGUFWriter(
            metadata: [
                ("general.architecture", .string(architecture)), ("general.type", .string("adapter")),
                ("adapter.type", .string("lora")), ("adapter.lora.alpha", .float32(alpha)),
            ], tensors: entries)
        return files
    }

    private static func type(_ dtype: DType) -> GGMLType? {
        GGMLType.allCases.first { $0.dtype == dtype && [.f32, .f16, .bf16].contains(dtype) }
    }

    /// The base's architecture in GGUF, and its heads.
    private func model(_ plan: ConvertPlan) throws(Problem) -> (String, (queries: Int, keys: Int)) {
        guard let config = plan.base?.config?.object else {
            throw Problem(
                .incompatible, "needs-base", file: plan.adapter.file.path,
                "needs its base to become GGUF: names and the order of rows depend on the architecture",
                hint: "name the model's directory with --base, with its config.json")
        }
        let type = config["model_type"]?.string ?? ""
        guard let architecture = GGUFNames.architecture(modelType: type) else {
            throw Problem(
                .incompatible, "unknown-architecture", file: plan.request.base ?? "",
                "is a '\(type)', whose names in GGUF are not known here",
                hint: "known are: " + GGUFNames.architectures.joined(separator: ", "))
        }
        return (architecture, BaseTraits.heads(config))
    }

    private func name(_ module: ConvertedModule, _ architecture: String, _ plan: ConvertPlan) throws(Problem) -> String
    {
        let parameter = plan.names(of: module).first ?? module.path + ".weight"
        let place = GGUFNames.place(of: parameter, architecture: architecture)
        guard let place, place.expert == nil else {
            throw Problem(
                .incompatible, "not-expressible", file: plan.adapter.file.path,
                tensor: module.source?.module.down.name,
                place == nil
                    ? "belongs to '\(parameter)', which has no name in GGUF's '\(architecture)'"
                    : "belongs to one expert, '\(parameter)', and GGUF keeps all experts of a block in one tensor",
                hint: "merge it into its base with adapter-merge, and convert the result")
        }
        return place.name
    }

    private func tensors(
        _ module: ConvertedModule, _ stem: String, _ order: RowPermutation, _ factor: Double, _ plan: ConvertPlan
    ) throws -> [ConvertedTensor] {
        let (down, up) = (plan.downType(module), plan.upType(module, times: factor))
        let (rank, inputs, outputs) = (module.rank, module.downShape[1], module.upShape[0])
        let isEmbedding = module.kind == .embedding
        guard order.order(rows: outputs) != nil else {
            throw Problem(
                .incompatible, "shape-mismatch", file: plan.adapter.file.path, tensor: module.source?.module.up.name,
                "has \(outputs) rows, which are not of as many heads as the base's config says")
        }
        return [
            ConvertedTensor(
                name: stem + ".lora_a", dtype: down, shape: isEmbedding ? [inputs, rank] : [rank, inputs]
            ) { () throws(Problem) in
                let bytes = try plan.down(module, down)
                return isEmbedding ? bytes.transposed(rows: rank, columns: inputs, size: down.bits / 8) : bytes
            },
            ConvertedTensor(name: stem + ".lora_b", dtype: up, shape: [outputs, rank]) { () throws(Problem) in
                let bytes = try plan.up(module, times: factor, up)
                return order.applied(to: bytes, rows: outputs) ?? bytes
            },
        ]
    }
}
