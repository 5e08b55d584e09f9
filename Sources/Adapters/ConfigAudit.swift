import Problems
import StrictJSON

/// Checks that every field of a LoRA config that changes meaning is either used here or refused by name.
enum ConfigAudit {
    /// Fields that are read and used.
    private static let used: Set<String> = [
        "peft_type", "r", "lora_alpha", "use_rslora", "use_dora", "lora_bias", "bias", "fan_in_fan_out",
        "ensure_weight_tying", "rank_pattern", "alpha_pattern", "target_modules", "exclude_modules",
        "target_parameters", "modules_to_save", "layers_to_transform", "layers_pattern", "trainable_token_indices",
        "init_lora_weights", "base_model_name_or_path", "revision", "task_type", "peft_version",
    ]

    /// Fields that say how the adapter was trained or loaded, not what it does.
    private static let informational: Set<String> = [
        "auto_mapping", "inference_mode", "lora_dropout", "megatron_config", "megatron_core", "loftq_config",
        "eva_config", "corda_config", "lora_ga_config", "velora_config", "runtime_config", "qalora_group_size",
    ]

    /// Fields that only the method of that name has.
    private static let ofTrainableTokens: Set<String> = ["token_indices", "init_weights"]

    /// Fields whose presence makes the adapter something else than W + s·B·A, with the reason.
    private static let refused: [(key: String, code: String, reason: String, hint: String)] = [
        (
            "layer_replication", "layer-replication", "the adapter was trained on a model whose layers are repeated",
            "build the repeated base first, then merge with this field removed"
        ),
        (
            "alora_invocation_tokens", "activated-lora",
            "an activated LoRA acts only after its invocation tokens, so it cannot become part of the weights",
            "serve it as an adapter"
        ),
        (
            "use_qalora", "qalora", "QA-LoRA's down projection acts on a pooled input, so its delta is no product B·A",
            "merge it with the library that trained it"
        ),
        (
            "use_bdlora", "bdlora", "block-diagonal LoRA keeps its factors in blocks that are not read here",
            "merge it with PEFT"
        ),
        (
            "arrow_config", "arrow", "Arrow chooses between adapters for each token, so there is nothing to merge",
            "serve it with PEFT"
        ),
        ("kasa_config", "kasa", "KaSA changes the base weights before training", "merge it with PEFT"),
        (
            "monteclora_config", "monteclora", "MonteCLoRA's deltas are drawn at random and are not read here",
            "merge it with PEFT"
        ),
    ]

    /// Words of `init_lora_weights` that leave the base's weights as they are.
    private static let neutralInitialisations: Set<String> = ["gaussian", "eva", "orthogonal", "mica"]

    /// Fields that all methods have.
    private static let common: Set<String> = [
        "peft_type", "base_model_name_or_path", "revision", "task_type", "peft_version", "auto_mapping",
        "inference_mode", "target_modules", "exclude_modules", "modules_to_save",
    ]

    /// The same for a method whose config is not LoRA's.
    static func problems(of config: PEFTConfig, fields: Set<String>, file: String) -> [Problem] {
        config.fields.entries.filter {
            !common.contains($0.key) && !fields.contains($0.key) && !isNeutral($0.value)
        }.map { unknown($0.key, file) }
    }

    /// - Parameter more: fields that the method has beside LoRA's.
    static func problems(of config: PEFTConfig, file: String, more: Set<String> = []) -> [Problem] {
        var result: [Problem] = []
        for entry in config.fields.entries {
            let key = entry.key
            if used.contains(key) || informational.contains(key) || more.contains(key) { continue }
            if config.type == "TRAINABLE_TOKENS", ofTrainableTokens.contains(key) { continue }
            if let rule = refused.first(where: { $0.key == key }) {
                // An empty object still switches a variant on, with its defaults.
                if isNeutral(entry.value) && entry.value.object == nil { continue }
                result.append(
                    Problem(.incompatible, rule.code, file: file, "'\(key)' is set: \(rule.reason)", hint: rule.hint))
            } else if !isNeutral(entry.value) {
                result.append(unknown(key, file))
            }
        }
        if let word = config.initialisation, !neutralInitialisations.contains(word) {
            result.append(baseChanged(word, file: file))
        }
        if config.useDoRA && config.loraBias {
            result.append(
                Problem(.malformed, "bad-config", file: file, "'use_dora' and 'lora_bias' exclude each other"))
        }
        return result
    }

    private static func unknown(_ key: String, _ file: String) -> Problem {
        Problem(
            .incompatible, "unknown-config-field", file: file,
            "has a field '\(key)' that is not known here and may change what the adapter does",
            hint: "if it does not, say --allow unknown-config-field")
    }

    private static func baseChanged(_ word: String, file: String) -> Problem {
        Problem(
            .incompatible, "base-changed", file: file,
            "'init_lora_weights' is '\(word)': training began from changed base weights, so adding B·A to the original base "
                + "gives another model",
            hint:
                "save the adapter again with path_initial_model_for_weight_conversion, merge onto the changed base, or, "
                + "if BASE is that changed base, say --allow base-changed")
    }

    /// Whether a field says nothing.
    static func isNeutral(_ value: JSONValue) -> Bool {
        switch value {
        case .null, .bool(false), .string(""): true
        case .array(let items): items.isEmpty
        case .object(let object): object.entries.isEmpty
        default: false
        }
    }
}
