import Safetensors

/// What llama.cpp demands: of GGUF files its loader (`src/llama-adapter.cpp`), of PEFT's directories its converter
/// (`convert_lora_to_gguf.py`), which knows one alpha for all modules.
enum LlamaCppRules {
    static let all: [ServingRule] =
        [
            .packed("llama.cpp"),
            .otherFormat(
                "llama.cpp", reads: [.gguf, .peft], "GGUF, which its converter makes of PEFT's directories",
                hint: "convert it: adapter-convert ADAPTER -o OUT.gguf --to gguf --base BASE"),
            .fileName("llama.cpp's converter", "adapter_model.safetensors", of: .peft),
            .notLoRA("llama.cpp's converter", hint: mergeHint),
        ] + ofConverter + ofLoader

    private static let mergeHint = "merge it with adapter-merge, and convert the merged model"
    private static let foldHint =
        "adapter-convert ADAPTER -o OUT.gguf --to gguf --base BASE multiplies the scales in"

    // MARK: Of PEFT's directories

    private static let ofConverter: [ServingRule] = [
        ServingRule(.error, "missing-field", of: [.peft]) { facts in
            guard facts.config.fields["lora_alpha"] == nil else { return nil }
            return .init(
                .config, "has no 'lora_alpha', without which llama.cpp's converter stops",
                hint: "add PEFT's default: \"lora_alpha\": 8")
        },
        .dora("for which GGUF has no place: llama.cpp's converter stops", hint: mergeHint),
        ServingRule(.error, "saved-weights", of: [.peft]) { facts in
            let found = facts.adapter.replacements.filter { !isSkipped($0) && !isNorm($0) }
            guard let first = found.first else { return nil }
            return .init(
                .tensor(first.tensor.name),
                "is a whole parameter, at which llama.cpp's converter stops\(facts.more(found.count))",
                hint: mergeHint)
        },
        ServingRule(.error, "norm-weights", of: [.peft]) { facts in
            let found = facts.adapter.replacements.filter { !isSkipped($0) && isNorm($0) }
            guard let first = found.first else { return nil }
            return .init(
                .tensor(first.tensor.name),
                "replaces a norm: llama.cpp's converter copies it, but the loader passes over it without a word"
                    + facts.more(found.count), hint: mergeHint)
        },
        ServingRule(.error, "trainable-tokens", of: [.peft]) { facts in
            guard let first = facts.adapter.tokenRows.first else { return nil }
            return .init(
                .tensor(first.tensor.name), "holds trained rows of an embedding, at which llama.cpp's converter stops",
                hint: mergeHint)
        },
        ServingRule(.error, "lora-bias", of: [.peft]) { facts in
            let found = facts.adapter.modules.compactMap(\.upBias)
            guard let first = found.first else { return nil }
            return .init(
                .tensor(first.name),
                "is a bias of lora_B, at which llama.cpp's converter stops\(facts.more(found.count))",
                hint: mergeHint)
        },
        .convolution("on which llama.cpp's converter stops", hint: mergeHint),
        ServingRule(.error, "target-parameters", of: [.peft]) { facts in
            guard !facts.config.targetParameters.isEmpty else { return nil }
            return .init(
                .config, "adapts parameters of experts ('target_parameters'), which llama.cpp's converter cannot place",
                hint: mergeHint)
        },
        .wrappedName("and llama.cpp's converter stops at it"),
        ServingRule(.error, "rslora", of: [.peft]) { facts in
            guard facts.config.useRSLoRA, let first = misscaled(facts).first else { return nil }
            return .init(
                .config,
                "says 'use_rslora', which llama.cpp's converter ignores: '\(first.path)' would have the scale \(ServingFacts.text(scale(first, facts))), "
                    + "not \(ServingFacts.text(first.scale))", hint: foldHint)
        },
        ServingRule(.error, "alpha-pattern", of: [.peft]) { facts in
            guard !facts.config.useRSLoRA, !facts.config.alphaPattern.isEmpty else { return nil }
            let found = misscaled(facts)
            guard let first = found.first else { return nil }
            return .init(
                .config,
                "has an 'alpha_pattern', which llama.cpp's converter ignores: '\(first.path)' would have the scale "
                    + "\(ServingFacts.text(scale(first, facts))), not \(ServingFacts.text(first.scale))\(facts.more(found.count))",
                hint: foldHint)
        },
        ServingRule(.error, "zero-alpha", of: [.peft]) { facts in
            guard facts.config.alpha == 0, facts.config.alphaPattern.isEmpty else { return nil }
            return .init(
                .config, "has an alpha of 0, which llama.cpp takes for a scale of 1", hint: "is it the right adapter?")
        },
        .changedBase(
            "which llama.cpp's converter does not see, so that it computes something else",
            unless: ["gaussian", "eva", "orthogonal", "mica", "lora_ga"]),
        .field(.error, "layer-replication", "layer_replication", ignored, hint: "serve it with PEFT"),
        .field(.error, "block-diagonal", "use_bdlora", ignored, hint: "serve it with PEFT"),
        .field(.error, "qalora", "use_qalora", ignored, hint: "serve it with PEFT"),
        .ignoredVariant("llama.cpp's converter"),
        ServingRule(.error, "tied-head", of: [.peft, .gguf]) { facts in
            guard let traits = facts.resolution?.traits, traits.isTied,
                let first = facts.adapter.modules.first(where: { traits.isHead($0.path) || $0.isEmbedding })
            else { return nil }
            // The head is a copy of the embedding by the same name, with which llama.cpp finds the embedding's pair.
            let what =
                first.isEmbedding
                ? "adapts the embedding, which the base shares with its output head: llama.cpp would use the pair for both, and it lies "
                    + "the wrong way for the head"
                : "adapts the output head, which the base shares with its embedding: llama.cpp's converter stops at that"
            return .init(.tensor(first.down.name), what, hint: mergeHint)
        },
        .wrongPrefix("llama.cpp's converter finds no place for such a name"),
        .unknownField("llama.cpp's converter does without it"),
        ServingRule(.warning, "embedding-copy", of: [.peft]) { facts in
            guard let first = facts.adapter.replacements.first(where: isSkipped) else { return nil }
            return .init(
                .tensor(first.tensor.name), "is a whole weight, which llama.cpp's converter leaves out",
                hint: "that is right if it is a copy of the base's; if it was trained, \(mergeHint)")
        },
        ServingRule(.note, "conversion", of: [.peft]) { facts in
            .init(
                .file, "has to be converted first, since llama.cpp itself loads GGUF",
                hint:
                    "adapter-convert ADAPTER -o OUT.gguf --to gguf --base BASE, or llama.cpp's convert_lora_to_gguf.py")
        },
        ServingRule(.note, "no-base-name", of: [.peft]) { facts in
            guard facts.config.baseModel == nil else { return nil }
            return .init(
                .config, "names no base, so llama.cpp's converter needs --base with the directory of its config")
        },
        ServingRule(.note, "activated-lora", of: [.peft]) { facts in
            guard facts.isSet("alora_invocation_tokens") else { return nil }
            return .init(.config, "is an activated LoRA: only llama-server acts on its invocation tokens")
        },
    ]

    private static let ignored = "which llama.cpp's converter ignores, so that something else is computed"

    /// What the converter leaves out without a word.
    private static func isSkipped(_ item: Replacement) -> Bool { item.isBaseLayer && item.parameter == "weight" }

    private static func isNorm(_ item: Replacement) -> Bool {
        item.tensor.name.contains("_layernorm") || item.tensor.name.contains(".norm")
    }

    /// The scale that llama.cpp gives a module: the one alpha by the rank of its tensors.
    private static func scale(_ module: ModuleFacts, _ facts: ServingFacts) -> Double {
        facts.config.alpha == 0 ? 1 : facts.config.alpha / Double(max(1, module.rank))
    }

    private static func misscaled(_ facts: ServingFacts) -> [ModuleFacts] { facts.misscaled { scale($0, facts) } }

    // MARK: Of GGUF files

    /// Pairs, names, shapes and the architecture are checked where such a file is read.
    private static let ofLoader: [ServingRule] = [
        ServingRule(.error, "type", of: [.gguf]) { facts in
            guard let found = facts.adapter.problems.first(where: { $0.code == "not-lora" }) else { return nil }
            return .init(.file, found.message, hint: found.hint)
        },
        ServingRule(.note, "activated-lora", of: [.gguf]) { facts in
            guard facts.adapter.problems.contains(where: { $0.code == "activated-lora" }) else { return nil }
            return .init(.file, "is an activated LoRA: only llama-server acts on its invocation tokens")
        },
    ]
}
