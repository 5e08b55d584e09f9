import Adapters
import Problems
import Safetensors
import StrictJSON

/// Writes PEFT's `adapter_model.safetensors` and `adapter_config.json`.
struct PEFTTarget: ConvertTarget {
    let name = "PEFT's LoRA"
    let features: Set<ConvertFeature> = [
        .dora, .upBias, .embedding, .convolution, .experts, .replacement, .tokenRows, .twiceApplied,
    ]

    func files(_ plan: ConvertPlan) throws -> ConvertedFiles {
        try plan.requireOneComponent()
        var files = ConvertedFiles(name: "adapter_model.safetensors")
        let common = plan.request.folds ? Self.usual(plan.modules.map(\.scale), else: 1) : nil
        for module in plan.modules {
            let factor = common.map { module.scale / $0 } ?? 1
            if factor != 1 { files.folded += 1 }
            files.add(try tensors(module, plan, factor, rank: rank(module, plan)))
        }
        for replacement in plan.adapter.replacements {
            let infix = replacement.isBaseLayer ? ".base_layer" : ""
            files.tensors.append(
                plan.whole(
                    replacement.tensor,
                    name: AdapterNames.saved("\(replacement.module)\(infix).\(replacement.parameter)")))
        }
        for rows in plan.adapter.tokenRows {
            files.tensors.append(
                plan.whole(rows.tensor, name: AdapterNames.saved(rows.module + ".token_adapter.trainable_tokens_delta"))
            )
        }
        files.metadata = [("format", "pt")] + plan.carriedMetadata
        files.others = [("adapter_config.json", try config(plan, common))]
        return files
    }

    /// The rank that a module gets: where patterns are folded, that of the largest, filled up with zeros.
    private func rank(_ module: ConvertedModule, _ plan: ConvertPlan) -> Int {
        let isPlain = { (module: ConvertedModule) in module.kind != .experts && module.kind != .parameter }
        guard plan.request.folds, isPlain(module) else { return module.rank }
        return plan.modules.filter(isPlain).map(\.rank).max() ?? module.rank
    }

    private func tensors(
        _ module: ConvertedModule, _ plan: ConvertPlan, _ factor: Double, rank: Int
    ) throws -> [ConvertedTensor] {
        let stem = AdapterNames.stem(path: module.path, depth: module.source?.module.depth ?? 0)
        let isEmbedding = module.kind == .embedding
        let (down, up) = (plan.downType(module), plan.upType(module, times: factor))
        var names =
            isEmbedding
            ? (stem + ".lora_embedding_A", stem + ".lora_embedding_B")
            : (stem + ".lora_A.weight", stem + ".lora_B.weight")
        if let source = module.source?.module, source.repetitions > 1 {
            names = (AdapterNames.down(source, depth: source.depth), AdapterNames.up(source, depth: source.depth))
        }
        let downShape = rank == module.rank ? module.downShape : [rank] + module.downShape.dropFirst()
        let upShape = rank == module.rank ? module.upShape : [module.upShape[0], rank] + module.upShape.dropFirst(2)
        var result = [
            ConvertedTensor(name: names.0, dtype: down, shape: downShape) { () throws(Problem) in
                let bytes = try plan.down(module, down)
                return bytes + [UInt8](repeating: 0, count: downShape.reduce(down.bits / 8, *) - bytes.count)
            },
            ConvertedTensor(name: names.1, dtype: up, shape: upShape) { () throws(Problem) in
                try plan.up(module, times: factor, up)
                    .widened(rows: upShape[0], to: upShape.reduce(up.bits / 8, *) / upShape[0])
            },
        ]
        if let magnitude = module.magnitude {
            let outputs = magnitude.elementCount
            let rest = module.kind == .convolution ? [Int](repeating: 1, count: module.downShape.count - 2) : []
            let shape = rest.isEmpty ? [outputs] : [1, outputs] + rest
            result.append(plan.whole(magnitude, name: stem + ".lora_magnitude_vector", shape: shape))
        }
        if let bias = module.upBias {
            let file = plan.adapter.file
            let type = factor == 1 ? bias.dtype : plan.upType(module, times: factor)
            result.append(
                ConvertedTensor(name: stem + ".lora_B.bias", dtype: type, shape: bias.shape) { () throws(Problem) in
                    try ConvertedModule.bytes(.stored(bias), times: factor, type, in: file)
                })
        }
        return result
    }

    private func config(_ plan: ConvertPlan, _ common: Double?) throws -> [UInt8] {
        var config = ResultConfig()
        let source = plan.adapter.config
        config["base_model_name_or_path"] = source.baseModel.map(JSONValue.string) ?? .null
        config["revision"] = source.revision.map(JSONValue.string) ?? .null
        config["task_type"] = (source.taskType ?? plan.taskType).map(JSONValue.string) ?? .null
        if let mapping = source.fields["auto_mapping"] { config["auto_mapping"] = mapping }
        if let version = source.version { config["peft_version"] = .string(version) }
        config["fan_in_fan_out"] = .bool(source.fanInFanOut)
        config["use_dora"] = .bool(plan.modules.contains { $0.magnitude != nil })
        config["lora_bias"] = .bool(plan.modules.contains { $0.upBias != nil })
        config.setScales(
            plan.modules.map {
                (
                    path: $0.patternPath, rank: rank($0, plan),
                    scale: (common ?? $0.scale) / Double($0.source?.module.repetitions ?? 1)
                )
            })
        let plain = plan.modules.filter { $0.kind != .experts && $0.kind != .parameter }
        if case .none = source.targetModules {
            config["target_modules"] = ResultConfig.texts(Set(plain.map { $0.patternPath }).sorted())
        } else {
            for key in ["target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"] {
                if let value = source.fields[key] { config[key] = value }
            }
        }
        if !source.targetParameters.isEmpty {
            config["target_parameters"] = ResultConfig.texts(source.targetParameters)
        }
        if source.ensureWeightTying { config["ensure_weight_tying"] = .bool(true) }
        if !source.modulesToSave.isEmpty {
            config["modules_to_save"] = ResultConfig.texts(source.modulesToSave.sorted())
        }
        if source.bias != "none" { config["bias"] = .string(source.bias) }
        if let rows = source.fields["trainable_token_indices"], rows != .null {
            config["trainable_token_indices"] = rows
        }
        if !source.isFile, !plan.adapter.replacements.isEmpty {
            config["modules_to_save"] = ResultConfig.texts(Set(plan.adapter.replacements.map(\.module)).sorted())
        }
        return config.bytes
    }
}

extension ResultConfig {
    /// Ranks and scales module by module: the most frequent ones for all, others as patterns.
    mutating func setScales(_ modules: [(path: String, rank: Int, scale: Double)]) {
        setRanks(modules.map { ($0.path, $0.rank) }, alphas: modules.map { $0.scale * Double($0.rank) })
    }
}

extension [UInt8] {
    /// Rows of equally many bytes, each filled up with zeros to `width`.
    fileprivate func widened(rows: Int, to width: Int) -> [UInt8] {
        guard rows > 0, count < rows * width else { return self }
        let own = count / rows
        var result: [UInt8] = []
        result.reserveCapacity(rows * width)
        for row in 0..<rows {
            result += self[row * own..<(row + 1) * own]
            result += [UInt8](repeating: 0, count: width - own)
        }
        return result
    }
}
