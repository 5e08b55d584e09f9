import Safetensors
import StrictJSON

/// What vLLM demands (`vllm/lora/peft_helper.py`, `lora_model.py`, `utils.py`, `vllm/config/lora.py`).
enum VLLMRules {
    /// What `--max-lora-rank` can be; 16 without it.
    static let ranks = [8, 16, 32, 64, 128, 256, 320, 512]

    static let all: [ServingRule] = [
        .packed("vLLM"),
        .otherFormat(
            "vLLM", reads: [.peft], "PEFT's directories",
            hint: "convert it: adapter-convert ADAPTER -o OUT --to peft"),
        .fileName("vLLM", "adapter_model.safetensors", of: .peft),
        .notLoRA("vLLM", hint: ServingFacts.mergeHint),
        ServingRule(.error, "missing-field", of: [.peft]) { facts in
            let missing = ["lora_alpha", "r", "target_modules"].filter { facts.config.fields[$0] == nil }
            guard !missing.isEmpty else { return nil }
            let list = missing.map { "'\($0)'" }.joined(separator: " and ")
            return .init(
                .config, "has no \(list), which vLLM needs", hint: "add what PEFT takes it for: \(defaults(missing))")
        },
        .dora("which vLLM does not load", hint: ServingFacts.mergeHint),
        ServingRule(.error, "bias", of: [.peft]) { facts in
            guard facts.config.bias != "none" else { return nil }
            return .init(
                .config, "says 'bias' \"\(facts.config.bias)\", and vLLM loads no biases", hint: ServingFacts.mergeHint)
        },
        .field(.error, "lora-bias", "lora_bias", "and vLLM loads no biases of lora_B", hint: ServingFacts.mergeHint),
        ServingRule(.error, "modules-to-save", of: [.peft]) { facts in
            let names = facts.config.modulesToSave.filter { !heads.contains($0) }
            guard !names.isEmpty else { return nil }
            return .init(
                .config,
                "replaces \(names.joined(separator: ", ")) ('modules_to_save'), and vLLM loads no whole modules",
                hint: ServingFacts.mergeHint)
        },
        ServingRule(.error, "saved-weights", of: [.peft]) { facts in
            let found = facts.adapter.replacements.filter { item in
                let isSaved = facts.config.modulesToSave.contains {
                    item.module.split(separator: ".").contains($0[...])
                }
                let isBias = item.parameter == "bias" && facts.config.bias != "none"
                return !isCopy(item) && !isSaved && !isBias
            }
            guard let first = found.first else { return nil }
            return .init(
                .tensor(first.tensor.name), "is a whole parameter, which vLLM refuses\(facts.more(found.count))",
                hint: ServingFacts.mergeHint)
        },
        ServingRule(.error, "trainable-tokens", of: [.peft]) { facts in
            guard let first = facts.adapter.tokenRows.first else { return nil }
            return .init(
                .tensor(first.tensor.name), "holds trained rows of an embedding, which vLLM refuses",
                hint: ServingFacts.mergeHint)
        },
        .changedBase(
            "and vLLM refuses it; up to 0.30 it computes something else instead",
            unless: ["gaussian", "eva", "orthogonal", "mica", "lora_ga"]),
        .field(
            .error, "activated-lora", "alora_invocation_tokens", refusal, hint: "serve it with PEFT or llama.cpp"),
        .field(.error, "layer-replication", "layer_replication", refusal, hint: "serve it with PEFT"),
        .field(.error, "block-diagonal", "use_bdlora", refusal, hint: "serve it with PEFT"),
        .field(.error, "qalora", "use_qalora", refusal, hint: "serve it with PEFT"),
        .ignoredVariant("vLLM"),
        .wrappedName("and vLLM refuses the file or finds no module for it"),
        .convolution("and vLLM adapts linear layers and embeddings alone", hint: ServingFacts.mergeHint),
        .wrongPrefix("vLLM finds no such module, and answers as the base does, without a word"),
        ServingRule(.error, "embedding-vocabulary", of: [.peft]) { facts in
            guard let vocabulary = vocabulary(facts) else { return nil }
            let found = facts.adapter.modules.filter { $0.isEmbedding && $0.down.shape.last != vocabulary }
            guard let first = found.first else { return nil }
            return .init(
                .tensor(first.down.name),
                "is for \(first.down.shape.last ?? 0) tokens, but the base has \(vocabulary), and vLLM demands the same",
                hint: "merge it with adapter-merge into the base that has these tokens")
        },
        ServingRule(.error, "rank-limit", of: [.peft]) { facts in
            let rank = largestRank(facts)
            guard let most = ranks.last, rank > most else { return nil }
            return .init(
                .config, "has rank \(rank), and vLLM's largest is \(most)",
                hint: "make it smaller: adapter-combine resize ADAPTER --rank \(most) -o OUT")
        },
        ServingRule(.warning, "rank-option", of: [.peft]) { facts in
            let rank = largestRank(facts)
            guard rank > 16, let option = ranks.first(where: { $0 >= rank }) else { return nil }
            return .init(
                .config, "has rank \(rank), but vLLM takes 16 at most if nothing else is said",
                hint: "start vLLM with --max-lora-rank \(option)")
        },
        ServingRule(.warning, "classifier-head", of: [.peft]) { facts in
            let names = facts.config.modulesToSave.filter(heads.contains)
            guard !names.isEmpty else { return nil }
            return .init(
                .config, "replaces \(names.joined(separator: ", ")) ('modules_to_save'), which vLLM up to 0.30 refuses",
                hint: "use a newer vLLM, or \(ServingFacts.mergeHint)")
        },
        ServingRule(.warning, "scale-pattern", of: [.peft]) { facts in
            guard !facts.config.rankPattern.isEmpty || !facts.config.alphaPattern.isEmpty, facts.config.rank > 0 else {
                return nil
            }
            let common = facts.config.scale(rank: facts.config.rank, alpha: facts.config.alpha)
            let found = facts.misscaled { _ in common }
            guard let first = found.first else { return nil }
            return .init(
                .config,
                "gives '\(first.path)' the scale \(ServingFacts.text(first.scale)) by a pattern, but vLLM up to 0.30 takes \(ServingFacts.text(common)) for all"
                    + facts.more(found.count),
                hint: ServingFacts.foldHint)
        },
        .unknownField("vLLM does without it"),
        ServingRule(.warning, "embedding-copy", of: [.peft]) { facts in
            guard let first = facts.adapter.replacements.first(where: isCopy) else { return nil }
            return .init(
                .tensor(first.tensor.name), "is a whole embedding, which vLLM passes over and takes the base's",
                hint:
                    "that is right if it is a copy of the base's; if it was trained or resized, \(ServingFacts.mergeHint)"
            )
        },
        ServingRule(.warning, "target-parameters", of: [.peft]) { facts in
            guard !facts.config.targetParameters.isEmpty else { return nil }
            return .init(
                .config, "adapts parameters of experts ('target_parameters'), which vLLM loads for some models only",
                hint: "compare an answer with the base's, or \(ServingFacts.mergeHint)")
        },
        ServingRule(.warning, "embedding", of: [.peft]) { facts in
            let found = facts.adapter.modules.filter(\.isEmbedding)
            guard let first = found.first else { return nil }
            return .init(
                .tensor(first.down.name),
                "adapts an embedding, which vLLM loads for models with adaptable embeddings only",
                hint: "if vLLM says 'expected target modules', \(ServingFacts.mergeHint)")
        },
        ServingRule(.warning, "no-prefix", of: [.peft]) { facts in
            let found = facts.stored.filter { !$0.key.hasPrefix }
            guard let first = found.first else { return nil }
            return .init(
                .tensor(first.name),
                "does not begin with 'base_model.model.', so that vLLM does not map it to its own names"
                    + facts.more(found.count),
                hint: ServingFacts.rewriteHint)
        },
    ]

    private static let refusal = "which vLLM refuses; up to 0.30 it computes something else instead"
    private static let heads: Set<String> = ["classifier", "score"]

    private static func defaults(_ fields: [String]) -> String {
        let known = ["lora_alpha": "\"lora_alpha\": 8", "r": "\"r\": 8", "target_modules": "\"target_modules\": [...]"]
        return fields.compactMap { known[$0] }.joined(separator: ", ")
    }

    /// Weights of embeddings under `base_layer`, which vLLM leaves out.
    private static func isCopy(_ item: Replacement) -> Bool {
        item.isBaseLayer && item.parameter == "weight"
            && ["embed_tokens", "lm_head"].contains(BaseTraits.lastPart(item.module))
    }

    private static func largestRank(_ facts: ServingFacts) -> Int {
        max(facts.config.rank, facts.config.rankPattern.map(\.value).max() ?? 0, facts.modules.map(\.rank).max() ?? 0)
    }

    private static func vocabulary(_ facts: ServingFacts) -> Int? {
        let config = facts.base?.config?.object
        return config?["vocab_size"]?.number?.int ?? config?["text_config"]?.object?["vocab_size"]?.number?.int
    }
}
