import Problems
import Safetensors
import StrictJSON
import Tensors

/// Reads diffusers' files: PEFT's names behind the component's, and what older versions wrote.
///
/// The scale comes from `lora_adapter_metadata`, else from alpha tensors, else it is 1 (diffusers
/// `loaders/lora_base.py`, `utils/state_dict_utils.py`).
struct DiffusersReader {
    /// What pairs end in, newest first; the rest is the module, but for what `module` takes out of it.
    private static let endings: [(suffix: String, role: AdapterKey.Role)] = [
        (".lora_A.weight", .down), (".lora_B.weight", .up), (".lora_B.bias", .upBias),
        (".lora_A.default.weight", .down), (".lora_B.default.weight", .up),
        (".lora_magnitude_vector", .magnitude), (".lora_magnitude_vector.weight", .magnitude),
        (".dora_scale", .magnitude),
        (".lora_linear_layer.down.weight", .down), (".lora_linear_layer.up.weight", .up),
        (".lora.down.weight", .down), (".lora.up.weight", .up),
        (".lora_down.weight", .down), (".lora_up.weight", .up),
        ("_lora.down.weight", .down), ("_lora.up.weight", .up),
    ]

    /// Whether these are the parts of such a name.
    static func isName(_ parts: [Substring]) -> Bool {
        let name = parts.joined(separator: ".")
        return endings.contains { name.hasSuffix($0.suffix) }
    }

    private let file: SafetensorsFile
    private var reading: DialectReading

    init(_ file: SafetensorsFile, why: String) {
        self.file = file
        reading = DialectReading(dialect: .diffusers, why: why, config: PEFTConfig(scales: [:]))
    }

    /// Reads names and scales.
    func read() -> DialectReading {
        var copy = self
        return copy.run()
    }

    private mutating func run() -> DialectReading {
        var alphas: [String: TensorInfo] = [:]
        var ranks: [String: Int] = [:]
        for tensor in file.header.tensors {
            if tensor.name.hasSuffix(".alpha") {
                alphas[Self.module(String(tensor.name.dropLast(6)))] = tensor
                continue
            }
            guard let ending = Self.endings.first(where: { tensor.name.hasSuffix($0.suffix) }) else {
                problem(
                    "foreign-tensor", tensor, "is no part of a pair, an alpha or a magnitude",
                    "names end in .lora_A.weight, .lora_B.weight and the like")
                continue
            }
            let path = Self.module(String(tensor.name.dropLast(ending.suffix.count)), ending.suffix)
            reading.add(TranslatedTensor(tensor), path, ending.role)
            if ending.role == .down { ranks[path] = tensor.shape.first ?? 0 }
        }
        let stated = statedScales(ranks)
        for (path, rank) in ranks {
            let alpha = alphas.removeValue(forKey: path).flatMap { value($0) }
            reading.scales[path] = stated[path] ?? ModuleScale(rank: rank, alpha: alpha ?? Double(rank))
        }
        for tensor in alphas.values.sorted(by: { $0.name < $1.name }) {
            problem(
                "missing-half", tensor, "is an alpha without a pair of factors",
                "the file is incomplete: save the adapter again, or download it again")
        }
        return reading
    }

    private mutating func problem(_ code: String, _ tensor: TensorInfo?, _ message: String, _ hint: String) {
        reading.problems.append(
            Problem(.incompatible, code, file: file.path, tensor: tensor?.name, message, hint: hint))
    }

    private mutating func value(_ tensor: TensorInfo) -> Double? {
        let value = (try? file.read(tensor)).flatMap { try? TensorValues.doubles($0, tensor.dtype) } ?? []
        guard value.count == 1, value[0].isFinite else {
            problem(
                "bad-alpha", tensor, "is \(tensor.dtype.rawValue) \(tensor.shape), but an alpha is one finite number",
                "save the adapter again")
            return nil
        }
        return value[0]
    }

    /// The module's path as the model has it today.
    private static func module(_ path: String, _ suffix: String = "") -> String {
        var path = path
        if let range = path.firstRange(of: ".processor.") { path.replaceSubrange(range, with: ".") }
        guard suffix.hasPrefix("_lora") else { return path }
        // Attention processors had `to_q_lora` for `to_q`; in text encoders these are `q_proj` and so on.
        let names: [(old: String, new: String, text: String)] = [
            (".to_q", ".to_q", ".q_proj"), (".to_k", ".to_k", ".k_proj"), (".to_v", ".to_v", ".v_proj"),
            (".to_out", ".to_out.0", ".out_proj"),
        ]
        let isText = path.hasPrefix("text_encoder") || path.contains(".self_attn.")
        for name in names where path.hasSuffix(name.old) {
            return String(path.dropLast(name.old.count)) + (isText ? name.text : name.new)
        }
        return path
    }

    // MARK: Metadata

    /// Rank and alpha as `lora_adapter_metadata` gives them: a LoraConfig for each component, its keys behind the component's name.
    private mutating func statedScales(_ ranks: [String: Int]) -> [String: ModuleScale] {
        guard let text = file.header.metadataValue("lora_adapter_metadata") else { return [:] }
        guard let object = (try? JSONValue.parse(Array(text.utf8), allowNonFinite: true))?.object else {
            problem("bad-config", nil, "has unreadable metadata 'lora_adapter_metadata'", "save the adapter again")
            return [:]
        }
        var result: [String: ModuleScale] = [:]
        for component in Set(object.entries.compactMap { $0.key.split(separator: ".").first.map(String.init) }).sorted()
        {
            var fields = JSONObject()
            for entry in object.entries where entry.key.hasPrefix(component + ".") {
                fields[String(entry.key.dropFirst(component.count + 1))] = entry.value
            }
            fields["peft_type"] = .string("LORA")
            do throws(Problem) {
                let config = try PEFTConfig(json: Array(JSONValue.object(fields).encoded().utf8), file: file.path)
                reading.problems += config.problems
                if config.useDoRA { reading.config.useDoRA = true }
                if config.loraBias { reading.config.loraBias = true }
                let scales = ScaleResolver(config: config, file: file.path)
                reading.problems += scales.problems
                for (path, rank) in ranks where path.hasPrefix(component + ".") {
                    let inner = String(path.dropFirst(component.count + 1))
                    let (stated, alpha) = (scales.rank(of: inner), scales.alpha(of: inner))
                    let scale = config.scale(rank: max(1, stated), alpha: alpha)
                    result[path] = ModuleScale(rank: stated, alpha: config.useRSLoRA ? scale * Double(rank) : alpha)
                }
            } catch {
                reading.problems.append(error)
            }
        }
        reading.notes.append(("scales from", "lora_adapter_metadata"))
        return result
    }
}
