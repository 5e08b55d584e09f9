import Problems
import StrictJSON

/// PEFT methods that are recognised but not merged here, each with its reason.
public enum OtherMethods {
    /// The reason why an adapter of `type` is not merged; `nil` for what is.
    public static func reason(type: String) -> String? {
        switch type {
        case "LORA", "TRAINABLE_TOKENS": nil
        case _ where PEFTKinds.reads(type): nil
        case "PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING", "CPT", "CARTRIDGE":
            "it is learned input, not a change of weights, so there is nothing to merge"
        case "ADAPTION_PROMPT": "it adds attention over learned prompts, which is no change of weights"
        case "XLORA", "POLY": "it mixes several adapters for each input, so there is nothing fixed to merge"
        case "SHADOW", "LILY", "SUPERTUNING": "it adds layers beside the model, which is no change of weights"
        case "RANDLORA", "PVERA", "VBLORA":
            "its weights are made of vectors or projections that all modules share, and its own rule is not read here"
        case "FOURIERFT", "WAVEFT": "its weights are coefficients of a transform, whose rule is not read here"
        case "SHIRA": "it changes single weights at places of its own, and its own rule is not read here"
        case "ROAD", "PSOFT", "OSF", "C3A", "UNILORA", "TINYLORA", "GRALORA", "DELORA", "MISS", "BONE", "HIRA", "GLORA",
            "FROD", "PEANUT", "DEFT", "ADAMSS", "BEFT":
            "its weights are no product B·A, and its own rule is not read here"
        default: unknown
        }
    }

    private static let unknown = "this method is not known here"

    /// Whether PEFT 0.21.2 has a method of this type.
    static func isKnown(type: String) -> Bool { reason(type: type) != unknown }

    /// What can be done with what is not merged.
    package static let hint =
        "adapter-inspect shows what it holds; LoRA, trainable tokens and "
        + "\(PEFTKinds.types.joined(separator: ", ")) can be verified and merged"

    /// Fields of a config that say how large a learned input or a mixture is, for people.
    private static let told: [(key: String, label: String)] = [
        ("num_virtual_tokens", "tokens"), ("token_dim", "dimension"), ("num_layers", "model layers"),
        ("num_transformer_submodules", "submodules"), ("prefix_projection", "projection"),
        ("encoder_hidden_size", "encoder"),
        ("prompt_tuning_init", "begun with"), ("adapter_len", "prompt length"), ("adapter_layers", "prompt layers"),
        ("adapters", "adapters"), ("xlora_depth", "router depth"), ("hidden_size", "hidden size"), ("r", "rank"),
        ("reduction_factor", "reduction"), ("bottleneck_size", "bottleneck"), ("non_linearity", "activation"),
        ("mh_adapter", "after attention"), ("output_adapter", "after the MLP"), ("prefix_length", "prefix length"),
        ("target_modules", "targets"),
    ]

    /// What such a config tells, as (label, text).
    static func notes(_ fields: JSONObject) -> [(label: String, text: String)] {
        told.compactMap { entry in
            guard let value = fields[entry.key], value != .null else { return nil }
            switch value {
            case .object(let object): return (entry.label, "\(object.entries.count)")
            case .array(let items): return (entry.label, items.compactMap(\.string).joined(separator: ", "))
            case .string(let text): return (entry.label, text)
            default: return (entry.label, value.encoded())
            }
        }
    }

    static func refusal(type: String, file: String) -> Problem {
        Problem(
            .incompatible, "not-lora", file: file,
            "peft_type is \(type): \(reason(type: type) ?? "it is not LoRA")",
            hint: hint)
    }
}
