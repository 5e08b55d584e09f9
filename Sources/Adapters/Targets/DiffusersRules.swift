import Safetensors
import StrictJSON

/// What diffusers demands (`loaders/lora_base.py`, `lora_pipeline.py`, `lora_conversion_utils.py`, `peft.py`).
///
/// Each component takes the tensors that begin with its name, and a tensor that no component takes is passed over; kohya's
/// names are translated first.
enum DiffusersRules {
    /// What pipelines load adapters into (`_lora_loadable_modules`).
    static let components: Set<String> = [
        "unet", "transformer", "transformer_2", "transformer_ref", "text_encoder", "text_encoder_2", "connectors",
        "text_conditioner",
    ]

    static let all: [ServingRule] = [
        .packed("diffusers"),
        .otherFormat(
            "diffusers", reads: [.diffusers, .kohya],
            "names that begin with a component ('unet.', 'transformer.', ...) and kohya's",
            hint: "if it is for a diffusion model, \(convertHint)"),
        ServingRule(.error, "no-component", of: [.diffusers]) { facts in
            let found = facts.adapter.storedTensors.filter { !DialectFinder.components.contains(component($0.name)) }
            guard let first = found.first else { return nil }
            return .init(
                .tensor(first.name),
                "does not begin with a component ('unet.', 'text_encoder.', 'transformer.'), and diffusers passes over it"
                    + facts.more(found.count), hint: convertHint)
        },
        ServingRule(.error, "component", of: [.diffusers]) { facts in
            let found = facts.adapter.storedTensors.filter {
                let name = component($0.name)
                return DialectFinder.components.contains(name) && name != "diffusion_model"
                    && !components.contains(name)
            }
            guard let first = found.first else { return nil }
            return .init(
                .tensor(first.name),
                "is for '\(component(first.name))', and no pipeline of diffusers loads LoRA into that"
                    + facts.more(found.count), hint: "merge it into that component with adapter-merge")
        },
        ServingRule(.error, "metadata-and-alpha", of: [.diffusers]) { facts in
            guard facts.adapter.file.header.metadataValue("lora_adapter_metadata") != nil,
                let first = facts.adapter.storedTensors.first(where: { $0.name.hasSuffix(".alpha") })
            else { return nil }
            return .init(
                .tensor(first.name), "is an alpha beside 'lora_adapter_metadata', and diffusers refuses to have both",
                hint: convertHint)
        },
        ServingRule(.warning, "alpha-tensors", of: [.diffusers]) { facts in
            guard facts.adapter.file.header.metadataValue("lora_adapter_metadata") == nil,
                let alpha = facts.adapter.storedTensors.first(where: { $0.name.hasSuffix(".alpha") }),
                let module = facts.misscaled({ _ in 1 }).first
            else { return nil }
            return .init(
                .tensor(alpha.name),
                "is an alpha, which some pipelines read and others do not: '\(module.path)' has the scale \(ServingFacts.text(module.scale)) with it, "
                    + "and 1 without", hint: convertHint)
        },
        ServingRule(.warning, "original-names", of: [.diffusers]) { facts in
            let found = facts.adapter.storedTensors.filter { component($0.name) == "diffusion_model" }
            guard let first = found.first else { return nil }
            return .init(
                .tensor(first.name),
                "has the original model's name, which only the pipelines that translate it load (FLUX, Wan, LTX, ...)"
                    + facts.more(found.count), hint: "if your pipeline does not, \(convertHint)")
        },
        ServingRule(.error, "dora", of: [.diffusers, .kohya]) { facts in
            let found = facts.adapter.storedTensors.filter { $0.name.contains("dora_scale") }
            guard let first = found.first else { return nil }
            return .init(
                .tensor(first.name),
                "is a DoRA magnitude, which diffusers leaves out with a warning, so that the image is another one"
                    + facts.more(found.count), hint: mergeHint)
        },
        ServingRule(.error, "other-method", of: [.kohya]) { facts in
            let found = facts.adapter.storedTensors.filter { tensor in
                let suffix = suffix(tensor.name)
                return !known.contains(suffix) && suffix != "dora_scale"
            }
            guard let first = found.first else { return nil }
            return .init(
                .tensor(first.name),
                "is no part of a plain pair, and diffusers loads neither LoHa, LoKr nor whole differences"
                    + facts.more(found.count), hint: mergeHint)
        },
        ServingRule(.error, "component", of: [.kohya]) { facts in
            let found = facts.adapter.storedTensors.filter { tensor in !prefixes.contains(where: tensor.name.hasPrefix)
            }
            guard let first = found.first else { return nil }
            return .init(
                .tensor(first.name),
                "begins with none of lora_unet_, lora_te_, lora_te1_, lora_te2_, and diffusers does not translate such names"
                    + facts.more(found.count), hint: convertHint)
        },
        ServingRule(.error, "no-translation", of: [.kohya]) { facts in
            let found = facts.adapter.storedTensors.filter { $0.name.hasPrefix("lora_unet_joint_blocks_") }
            guard let first = found.first else { return nil }
            return .init(
                .tensor(first.name),
                "is for Stable Diffusion 3, for which diffusers does not translate kohya's names"
                    + facts.more(found.count), hint: convertHint)
        },
        ServingRule(.warning, "transformer-names", of: [.kohya]) { facts in
            let found = facts.adapter.storedTensors.filter { $0.name.hasPrefix("lora_transformer_") }
            guard let first = found.first else { return nil }
            return .init(
                .tensor(first.name),
                "begins with lora_transformer_, which FLUX's pipeline alone translates"
                    + facts.more(found.count), hint: "for other pipelines, \(convertHint)")
        },
    ]

    private static let convertHint = "convert it: adapter-convert ADAPTER -o OUT --to diffusers"
    private static let mergeHint = "merge it into the component with adapter-merge"
    private static let prefixes = ["lora_unet_", "lora_te_", "lora_te1_", "lora_te2_", "lora_transformer_"]
    private static let known: Set<String> = ["lora_down.weight", "lora_up.weight", "alpha"]

    private static func component(_ name: String) -> String { name.split(separator: ".").first.map(String.init) ?? "" }

    private static func suffix(_ name: String) -> String {
        name.firstIndex(of: ".").map { String(name[name.index(after: $0)...]) } ?? ""
    }
}
