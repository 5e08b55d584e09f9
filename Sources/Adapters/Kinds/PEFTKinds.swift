import Problems
import Safetensors
import StrictJSON

/// PEFT's methods other than LoRA whose change of the weights is settled.
enum PEFTKinds {
    /// A method: what its tensors are called behind a module's path, and the fields of its config.
    private struct Method {
        let parts: Set<String>
        let fields: Set<String>
    }

    private static let layers: Set<String> = ["layers_to_transform", "layers_pattern"]
    private static let lycoris = layers.union([
        "r", "alpha", "rank_dropout", "module_dropout", "use_effective_conv2d", "init_weights", "rank_pattern",
        "alpha_pattern",
    ])

    private static let methods: [String: Method] = [
        "LOHA": Method(parts: LoHaDelta.parts, fields: lycoris),
        "LOKR": Method(
            parts: LoKrDelta.parts,
            fields: lycoris.union(["decompose_both", "decompose_factor", "rank_dropout_scale"])),
        "IA3": Method(parts: ["ia3_l"], fields: ["feedforward_modules", "fan_in_fan_out", "init_ia3_weights"]),
        "ADALORA": Method(parts: AdaLoRAReader.parts, fields: AdaLoRAReader.fields),
        "VERA": Method(
            parts: ["vera_lambda_b", "vera_lambda_d"],
            fields: layers.union([
                "r", "projection_prng_key", "save_projection", "vera_dropout", "d_initial", "fan_in_fan_out", "bias",
                "init_weights",
            ])),
        "OFT": Method(
            parts: ["oft_R.weight", "oft_embedding_R.weight"],
            fields: layers.union([
                "r", "oft_block_size", "module_dropout", "fan_in_fan_out", "bias", "init_weights", "coft", "eps",
                "block_share", "use_cayley_neumann", "num_cayley_neumann_terms",
            ])),
        "BOFT": Method(
            parts: ["boft_R", "boft_s"],
            fields: layers.union([
                "boft_block_size", "boft_block_num", "boft_n_butterfly_factor", "boft_dropout", "fan_in_fan_out",
                "bias", "init_weights",
            ])),
        "HRA": Method(parts: ["hra_u"], fields: layers.union(["r", "apply_GS", "init_weights", "bias"])),
        "LN_TUNING": Method(parts: ["ln_tuning_layers.weight", "ln_tuning_layers.bias"], fields: []),
    ]

    /// Whether adapters of this `peft_type` are read.
    static func reads(_ type: String) -> Bool { methods[type] != nil }

    /// All types that are read.
    static var types: [String] { methods.keys.sorted() }

    /// Reads names and config.
    static func read(
        _ file: SafetensorsFile, _ config: PEFTConfig, configPath: String, why: String
    ) -> DialectReading {
        var reading = DialectReading(dialect: .peft, why: why, config: config)
        guard let method = methods[config.type] else { return reading }
        reading.problems =
            config.type == "ADALORA"
            ? ConfigAudit.problems(of: config, file: configPath, more: method.fields)
            : ConfigAudit.problems(of: config, fields: method.fields, file: configPath)
        var modules: [String: [String: TensorInfo]] = [:]
        var shared: [String: TensorInfo] = [:]
        for tensor in file.header.tensors {
            if let (path, part) = split(tensor.name, method.parts) {
                if let other = modules[path]?[part] {
                    reading.problems.append(
                        Problem(
                            .incompatible, "duplicate-tensor", file: file.path, tensor: tensor.name,
                            "says the same part of '\(path)' as '\(other.name)'"))
                } else {
                    modules[path, default: [:]][part] = tensor
                }
            } else if config.type == "VERA", let part = PEFTKindReader.sharedPart(tensor.name), shared[part] == nil {
                shared[part] = tensor
            } else {
                reading.add(TranslatedTensor(tensor), other(tensor.name))
            }
        }
        var reader = PEFTKindReader(
            file: file, config: config, configPath: configPath, shared: shared, reading: reading)
        for (path, parts) in modules.sorted(by: { $0.key.precedesNaturally($1.key) }) {
            reader.add(ModuleParts(path: path, tensors: parts, file: file.path))
        }
        return reader.reading
    }

    /// Path and part of a name: `base_model.model.PATH.PART`.
    private static func split(_ name: String, _ known: Set<String>) -> (path: String, part: String)? {
        var parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        parts.removeAll { AdapterKey.wrappers.contains($0) }
        if parts.first == "base_model" {
            parts = Array(parts.starts(with: ["base_model", "model"]) ? parts.dropFirst(2) : [])
        }
        for count in 1...2 where parts.count > count {
            let part = parts.suffix(count).joined(separator: ".")
            if known.contains(part) {
                let path = parts.dropLast(count).filter { $0 != "base_layer" }.joined(separator: ".")
                return path.isEmpty ? nil : (path, part)
            }
        }
        return nil
    }

    /// What else a file may hold: modules and biases that were saved whole.
    private static func other(_ name: String) -> AdapterKey {
        var key = AdapterKey(name)
        switch key.role {
        case .parameter, .original, .foreign: break
        default: key.role = .foreign(stem: "LoRA")
        }
        return key
    }
}

extension DialectReading {
    fileprivate mutating func add(_ tensor: TranslatedTensor, _ key: AdapterKey) { tensors.append((tensor, key)) }
}
