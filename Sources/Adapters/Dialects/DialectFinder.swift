import Problems
import StrictJSON

/// Tells by names and config which dialect a file is in.
package struct DialectFinder {
    /// A decision, and what decided it.
    typealias Found = (dialect: Dialect, why: String)

    private let names: [String]
    private let config: JSONObject?
    private let path: String

    /// - Parameter config: a config that is none of PEFT's.
    init(names: [String], config: JSONObject?, path: String) {
        self.names = names
        self.config = config
        self.path = path
    }

    func find() throws(Problem) -> Found {
        if let config {
            if config["fine_tune_type"] != nil || config["lora_parameters"] != nil {
                return (.mlx, "adapter_config.json has the fields of mlx-lm")
            }
            if config["config"]?.object != nil || config["config"]?.string != nil, config["hidden_size"] != nil {
                return (.adapters, "adapter_config.json has the fields of the 'adapters' library")
            }
        }
        var counts: [Dialect: (count: Int, example: String)] = [:]
        var unknown: String?
        for name in names {
            guard let dialect = Self.dialect(of: name) else {
                unknown = unknown ?? name
                continue
            }
            counts[dialect, default: (0, name)].count += 1
        }
        // Magnitudes and alphas are named alike in two of them; pairs decide.
        let found = counts.sorted { ($0.value.count, $1.key.rawValue) > ($1.value.count, $0.key.rawValue) }
        guard let first = found.first else { throw unknownDialect(unknown) }
        guard found.count == 1 else { throw mixed(found.map { ($0.key, $0.value.count, $0.value.example) }) }
        return (first.key, Self.reason(first.key, first.value.example))
    }

    private static func reason(_ dialect: Dialect, _ example: String) -> String {
        switch dialect {
        case .peft: "tensors are named as PEFT names them, like '\(example)'"
        case .kohya: "tensors are named as sd-scripts and LyCORIS name them, like '\(example)'"
        case .diffusers: "tensors are named by component, as diffusers names them, like '\(example)'"
        case .mlx: "tensors are named as mlx-lm names them, like '\(example)'"
        case .gguf: "it is a GGUF file"
        case .adapters: "tensors are named as the 'adapters' library names them, like '\(example)'"
        }
    }

    private func unknownDialect(_ name: String?) -> Problem {
        guard let name else {
            return Problem(
                .incompatible, "empty-adapter", file: path, "holds no adapter tensors, so there is nothing to do")
        }
        return Problem(
            .incompatible, "unknown-dialect", file: path, tensor: name,
            "has a name of none of the dialects that are known here (PEFT, kohya and LyCORIS, diffusers, MLX, GGUF, 'adapters')",
            hint: "adapter-inspect --tensors lists all names")
    }

    private func mixed(_ found: [(dialect: Dialect, count: Int, example: String)]) -> Problem {
        let parts = found.map { "\($0.count) tensors of \($0.dialect.rawValue) ('\($0.example)')" }
        return Problem(
            .incompatible, "mixed-dialects", file: path,
            "mixes the names of several dialects: \(parts.joined(separator: ", "))",
            hint: "two adapters were put into one file: save each by itself")
    }

    /// Names of what diffusers' pipelines consist of, and of what other tools put in their place.
    package static let components: Set<String> = [
        "unet", "transformer", "transformer_2", "text_encoder", "text_encoder_2", "text_encoder_3", "controlnet",
        "image_encoder", "prior", "decoder", "adapter", "diffusion_model", "dit", "connectors",
    ]

    /// The dialect whose names this is one of.
    static func dialect(of name: String) -> Dialect? {
        if name.hasPrefix("base_model.") { return .peft }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count > 1 else { return nil }
        if KohyaReader.isName(parts) { return .kohya }
        if parts.contains("loras") || parts.contains("adapters") || parts.contains("prefix_tunings") {
            return .adapters
        }
        if ["lora_a", "lora_b"].contains(parts[parts.count - 1]) { return .mlx }
        if DiffusersReader.isName(parts) { return components.contains(String(parts[0])) ? .diffusers : older(parts) }
        return nil
    }

    /// Pairs without a component: diffusers' attention processors, or PEFT without its prefix.
    private static func older(_ parts: [Substring]) -> Dialect {
        let isPEFT = parts.contains {
            $0.hasPrefix("lora_A") || $0.hasPrefix("lora_B") || $0.hasPrefix("lora_magnitude")
        }
        return isPEFT ? .peft : .diffusers
    }
}
