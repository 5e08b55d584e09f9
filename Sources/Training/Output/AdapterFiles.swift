import Files
import Models
import Problems
import Safetensors
import StrictJSON

/// The files of a trained adapter, in the format of the library that loads it: PEFT's for `lora` and `prefix`, that of
/// `adapters` for `bottleneck`.
public struct AdapterFiles {
    let model: Llama<Float>
    /// What the config calls the base.
    let baseName: String
    /// What the adapter is called where a format needs a name.
    let name: String
    /// Further metadata of the tensor file.
    let metadata: [(key: String, value: String)]

    /// Describes them; see the properties.
    package init(_ model: Llama<Float>, baseName: String, name: String, metadata: [(key: String, value: String)]) {
        (self.model, self.baseName, self.metadata) = (model, baseName, metadata)
        // Dots would divide names within names.
        self.name = String(name.map { $0.isLetter || $0.isNumber || $0 == "-" || $0 == "_" ? $0 : "_" })
    }

    private var plan: TrainingPlan { model.plan }

    /// Names and contents.
    public func encoded() throws(Problem) -> [(name: String, bytes: [UInt8])] {
        let (tensors, file): ([(String, DType, [Int], [UInt8])], String)
        switch plan.method {
        case .lora: (tensors, file) = (loraTensors, "adapter_model.safetensors")
        case .prefix: (tensors, file) = ([prefixTensor], "adapter_model.safetensors")
        case .bottleneck: (tensors, file) = (bottleneckTensors, "adapter.safetensors")
        case .full: throw Problem(.internalFault, "no-adapter", "full fine-tuning makes no adapter")
        }
        let list = tensors.map { (name: $0.0, dtype: $0.1, shape: $0.2, bytes: $0.3) }
        let data = try Header.encode(tensors: list, metadata: [(key: "format", value: "pt")] + metadata)
        return [("adapter_config.json", config), (file, data)]
    }

    private var loraTensors: [(String, DType, [Int], [UInt8])] {
        model.trained.map { parameter in
            // Modules that are trained whole go by their own names behind PEFT's prefix.
            let isUpdate = parameter.name.hasPrefix("base_model.")
            return (
                isUpdate ? parameter.name : "base_model.model.\(parameter.name)", .f32, parameter.shape,
                parameter.value.bytes
            )
        }
    }

    /// Virtual positions × (layers · 2 · heads · d): keys and values of each layer in turn.
    private var prefixTensor: (String, DType, [Int], [UInt8]) {
        let width = model.config.keyWidth
        let all = Matrix<Float>(rows: plan.prefixLength, columns: model.config.layers * 2 * width)
        for (layer, block) in model.blocks.enumerated() {
            guard let prefix = block.attention.prefix else { continue }
            all.columns(2 * layer * width..<(2 * layer + 1) * width).copy(prefix.keys.value)
            all.columns((2 * layer + 1) * width..<(2 * layer + 2) * width).copy(prefix.values.value)
        }
        return ("prompt_embeddings", .f32, [all.rows, all.columns], all.bytes)
    }

    private var bottleneckTensors: [(String, DType, [Int], [UInt8])] {
        model.trained.map { parameter in
            var parts = parameter.name.split(separator: ".").map(String.init)
            let (layer, kind) = (parts.removeLast(), parts.removeLast())
            let inner = kind == "down" ? "adapter_down.0" : "adapter_up"
            return (
                "\(parts.joined(separator: ".")).adapters.\(name).\(inner).\(layer)", .f32, parameter.shape,
                parameter.value.bytes
            )
        }
    }

    // MARK: Configs

    private var config: [UInt8] {
        let fields: JSONObject
        switch plan.method {
        case .lora, .full: fields = loraConfig
        case .prefix: fields = prefixConfig
        case .bottleneck: fields = bottleneckConfig
        }
        return Array((JSONValue.object(Self.sorted(fields)).encoded(indent: 2, asciiOnly: true) + "\n").utf8)
    }

    private static func sorted(_ object: JSONObject) -> JSONObject {
        JSONObject(object.entries.map { ($0.key, $0.value) }.sorted { $0.0 < $1.0 })
    }

    private static func number(_ value: Int) -> JSONValue { .number(JSONNumber(value)) }
    private static func number(_ value: Double) -> JSONValue {
        value == value.rounded() && abs(value) < 1e15 ? number(Int(value)) : .number(JSONNumber(text: String(value)))
    }
    private static func texts(_ values: [String]) -> JSONValue { .array(values.map(JSONValue.string)) }

    private func peft(_ type: String) -> JSONObject {
        JSONObject([
            ("base_model_name_or_path", .string(baseName)), ("inference_mode", .bool(true)),
            ("peft_type", .string(type)), ("revision", .null), ("task_type", .string("CAUSAL_LM")),
        ])
    }

    private var loraConfig: JSONObject {
        var fields = peft("LORA")
        fields["auto_mapping"] = .null
        fields["bias"] = .string("none")
        fields["fan_in_fan_out"] = .bool(false)
        fields["init_lora_weights"] = .bool(true)
        fields["lora_alpha"] = Self.number(plan.alpha)
        fields["lora_bias"] = .bool(false)
        fields["lora_dropout"] = Self.number(plan.dropout)
        fields["r"] = Self.number(plan.rank)
        fields["target_modules"] = Self.texts(plan.targets.sorted())
        fields["use_dora"] = .bool(plan.usesMagnitude)
        fields["use_rslora"] = .bool(plan.usesRankStabilization)
        fields["rank_pattern"] = .object(JSONObject())
        fields["alpha_pattern"] = .object(JSONObject())
        let isAll = plan.layers.count == model.config.layers
        fields["layers_to_transform"] = isAll ? .null : .array(plan.layers.map { Self.number($0) })
        fields["layers_pattern"] = .null
        // PEFT takes every module whose path ends in the text, so that a bare "norm" would mean all norms.
        let saved = plan.modulesToSave.map { $0 == "norm" ? "model.norm" : $0 }
        fields["modules_to_save"] = saved.isEmpty ? .null : Self.texts(saved.sorted())
        return fields
    }

    private var prefixConfig: JSONObject {
        var fields = peft("PREFIX_TUNING")
        let config = model.config
        fields["encoder_hidden_size"] = Self.number(config.hidden)
        fields["num_attention_heads"] = Self.number(config.keyValueHeads)
        fields["num_layers"] = Self.number(config.layers)
        fields["num_transformer_submodules"] = Self.number(1)
        fields["num_virtual_tokens"] = Self.number(plan.prefixLength)
        fields["prefix_projection"] = .bool(false)
        fields["token_dim"] = Self.number(config.keyWidth)
        return fields
    }

    /// The config of a Houlsby adapter as version 1.3 of `adapters` writes it.
    private var bottleneckConfig: JSONObject {
        let off = [
            "adapter_residual_before_ln", "cross_adapter", "factorized_phm_rule", "is_parallel", "ln_after",
            "ln_before",
            "original_ln_before", "phm_layer", "shared_W_phm", "use_gating",
        ]
        let on = [
            "factorized_phm_W", "learn_phm", "mh_adapter", "original_ln_after", "output_adapter", "phm_bias",
            "residual_before_ln", "shared_phm_rule",
        ]
        var inner = JSONObject(off.map { ($0, .bool(false)) } + on.map { ($0, .bool(true)) })
        for key in ["init_weights_seed", "inv_adapter", "inv_adapter_reduction_factor"] { inner[key] = .null }
        for key in ["dropout", "stochastic_depth"] { inner[key] = .number(JSONNumber(text: "0.0")) }
        inner["hypercomplex_nonlinearity"] = .string("glorot-uniform")
        inner["init_weights"] = .string("bert")
        inner["non_linearity"] = .string("swish")
        inner["phm_c_init"] = .string("normal")
        inner["phm_dim"] = Self.number(4)
        inner["phm_init_range"] = .number(JSONNumber(text: "0.0001"))
        inner["phm_rank"] = Self.number(1)
        inner["scaling"] = .number(JSONNumber(text: "1.0"))
        inner["leave_out"] = .array(
            (0..<model.config.layers).filter { !plan.layers.contains($0) }.map { Self.number($0) })
        inner["reduction_factor"] = Self.number(reductionFactor)
        return JSONObject([
            ("config", .object(Self.sorted(inner))), ("hidden_size", Self.number(model.config.hidden)),
            ("model_class", .string("\(Self.className(model.config.modelType))ForCausalLM")),
            ("model_name", .string(baseName)), ("model_type", .string(model.config.modelType)),
            ("name", .string(name)), ("version", .string("adapters.1.3.0")),
        ])
    }

    /// A factor by which Python's `hidden // factor` is the size.
    private var reductionFactor: Double {
        let (hidden, size) = (Double(model.config.hidden), Double(plan.bottleneckSize))
        let factor = hidden / size
        // Python divides by the exact remainder: a factor that was rounded up gives one less.
        let quotient = (hidden - hidden.truncatingRemainder(dividingBy: factor)) / factor
        return quotient.rounded() == size ? factor : factor.nextDown
    }

    private static func className(_ type: String) -> String {
        switch type {
        case "mistral": "Mistral"
        case "qwen2": "Qwen2"
        default: "Llama"
        }
    }
}
