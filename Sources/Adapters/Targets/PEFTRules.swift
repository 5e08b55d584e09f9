/// What PEFT itself demands (`utils/save_and_load.py`, `tuners/tuners_utils.py`, 0.21.2).
///
/// It never compares the base, and says nothing of tensors that it has no place for.
enum PEFTRules {
    static let all: [ServingRule] = [
        .packed("PEFT"),
        .otherFormat(
            "PEFT", reads: [.peft], "adapter_config.json with adapter_model.safetensors",
            hint: "convert it: adapter-convert ADAPTER -o OUT --to peft"),
        .fileName("PEFT", "adapter_model.safetensors", of: .peft),
        ServingRule(.error, "unknown-method", of: [.peft]) { facts in
            guard !OtherMethods.isKnown(type: facts.config.type) else { return nil }
            return .init(
                .config, "says peft_type \(facts.config.type), which PEFT 0.21.2 does not have",
                hint: "use the version of PEFT that wrote it")
        },
        ServingRule(.error, "no-prefix", of: [.peft]) { facts in
            let found = facts.stored.filter { !$0.key.hasPrefix }
            guard let first = found.first else { return nil }
            return .init(
                .tensor(first.name),
                "does not begin with 'base_model.model.', and PEFT passes over it without a word\(facts.more(found.count))",
                hint: ServingFacts.rewriteHint)
        },
        .wrappedName("and PEFT passes over it without a word"),
        ServingRule(.error, "not-targeted", of: [.peft]) { facts in
            let found = facts.untargeted
            guard let first = found.first, let tensor = first.tensor else { return nil }
            return .init(
                .tensor(tensor), first.message + ", so PEFT passes over it without a word" + facts.more(found.count),
                hint: "correct 'target_modules'")
        },
        .wrongPrefix("PEFT finds no such module and passes over its tensors without a word"),
        .unknownField("PEFT 0.21.2 warns and does without it"),
        ServingRule(.warning, "unread-method", of: [.peft]) { facts in
            guard !facts.config.isReadable, OtherMethods.isKnown(type: facts.config.type) else { return nil }
            return .init(
                .config, "says peft_type \(facts.config.type), which PEFT has, but whose tensors are not checked here",
                hint: "load it once with PEFT, and compare an answer with the base's")
        },
        version("target-parameters", "target_parameters", "0.17"),
        version("trainable-tokens", "trainable_token_indices", "0.15"),
        version("lora-bias", "lora_bias", "0.14"),
        version("dora", "use_dora", "0.9"),
    ]

    /// A feature that older versions do not have.
    private static func version(_ code: String, _ field: String, _ version: String) -> ServingRule {
        ServingRule(.note, code, of: [.peft]) { facts in
            guard facts.isSet(field) else { return nil }
            return .init(.config, "sets '\(field)', which PEFT has since \(version)")
        }
    }
}
