import Problems
import Safetensors
import StrictJSON
import Tensors

/// Reads files of kohya's sd-scripts and of LyCORIS (`networks/lora.py`, `lycoris/modules`).
///
/// Names are a flattened module path, a dot, and what the tensor is; each module has its own alpha, and the scale is
/// alpha / rank, or 1 where alpha is missing.
package struct KohyaReader {
    /// The part of a pipeline that a flattened path belongs to.
    package static func component(of path: String) -> String? {
        KohyaPrefix.of(path)?.component
    }

    /// What tensors of one module are called.
    static let suffixes: Set<String> = [
        "lora_down.weight", "lora_up.weight", "lora_mid.weight", "alpha", "dora_scale", "scalar",
        "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2",
        "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t1", "lokr_t2",
        "diff", "diff_b", "w_norm", "b_norm", "weight", "on_input", "oft_blocks", "oft_diag", "rescale",
        "a1.weight", "a2.weight", "b1.weight", "b2.weight", "bm.weight", "bias_indices", "bias_values", "bias_size",
    ]

    /// Whether these are the parts of such a name.
    static func isName(_ parts: [Substring]) -> Bool {
        guard parts.count >= 2, KohyaPrefix.of(parts[0]) != nil else { return false }
        return suffixes.contains(parts.dropFirst().joined(separator: "."))
            || parts.dropFirst().joined(separator: ".").hasPrefix("lora_")
    }

    private let file: SafetensorsFile
    private var reading: DialectReading

    init(_ file: SafetensorsFile, why: String) {
        self.file = file
        reading = DialectReading(dialect: .kohya, why: why, naming: .flattened, config: PEFTConfig(scales: [:]))
    }

    /// Sorts the tensors into modules, and each module to its kind.
    func read() -> DialectReading {
        var copy = self
        return copy.run()
    }

    private mutating func run() -> DialectReading {
        var modules: [String: [String: TensorInfo]] = [:]
        for tensor in file.header.tensors {
            guard let dot = tensor.name.firstIndex(of: ".") else {
                foreign(tensor)
                continue
            }
            let suffix = String(tensor.name[tensor.name.index(after: dot)...])
            guard Self.suffixes.contains(suffix) else {
                foreign(tensor)
                continue
            }
            modules[String(tensor.name[..<dot]), default: [:]][suffix] = tensor
        }
        for (path, parts) in modules.sorted(by: { $0.key.precedesNaturally($1.key) }) {
            let module = LyCORISModule(path: path, parts: parts, file: file)
            module.add(to: &reading)
        }
        reading.notes = KohyaMetadata.notes(file.header)
        return reading
    }

    private mutating func foreign(_ tensor: TensorInfo) {
        reading.problems.append(
            Problem(
                .incompatible, "foreign-tensor", file: file.path, tensor: tensor.name,
                "is no tensor of a kohya or LyCORIS adapter",
                hint: "names end in .lora_down.weight, .lora_up.weight, .alpha and the like"))
    }
}

/// What sd-scripts writes about training, for people.
enum KohyaMetadata {
    private static let fields: [(key: String, label: String)] = [
        ("ss_sd_model_name", "base"), ("ss_base_model_version", "base version"), ("ss_network_module", "network"),
        ("ss_network_dim", "network rank"), ("ss_network_alpha", "network alpha"), ("ss_network_args", "network args"),
        ("ss_output_name", "name"), ("ss_resolution", "resolution"), ("ss_num_train_images", "images"),
        ("ss_epoch", "epoch"), ("ss_steps", "steps"), ("ss_learning_rate", "learning rate"),
        ("modelspec.title", "title"), ("modelspec.architecture", "architecture"), ("modelspec.author", "author"),
        ("modelspec.license", "license"), ("sshs_model_hash", "tensor hash"),
    ]

    static func notes(_ header: Header) -> [(label: String, text: String)] {
        fields.compactMap { field in
            guard let value = header.metadataValue(field.key), !value.isEmpty, value != "None" else { return nil }
            return (field.label, value.count > 200 ? value.prefix(200) + "..." : value)
        }
    }
}
