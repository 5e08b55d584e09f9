import Problems
import Safetensors
import StrictJSON

/// Reads LoRA of the `adapters` library 1.3 (`adapters/methods/lora.py`), and recognises its other methods.
///
/// Names are `MODULE.loras.NAME.lora_A` (rank × in) and `lora_B` (out × rank); the config is nested, and s = alpha / r.
struct AdaptersLibraryReader {
    private let file: SafetensorsFile
    private let config: JSONObject
    private let configPath: String
    private var reading: DialectReading

    init(_ file: SafetensorsFile, config: JSONObject, configPath: String, why: String) {
        self.file = file
        self.config = config
        self.configPath = configPath
        reading = DialectReading(dialect: .adapters, why: why, config: PEFTConfig(scales: [:]))
    }

    /// Reads names, scales and config.
    func read() -> DialectReading {
        var copy = self
        copy.run()
        return copy.reading
    }

    private mutating func run() {
        let fields = config["config"]?.object ?? JSONObject()
        let architecture = fields["architecture"]?.string ?? (config["config"]?.string ?? "")
        if let name = config["name"]?.string { reading.notes.append(("name", name)) }
        if let type = config["model_type"]?.string { reading.notes.append(("model type", type)) }
        guard architecture == "lora" else { return refuse(architecture, fields) }
        reading.config.baseModel = config["model_name"]?.string
        if let mode = fields["composition_mode"]?.string, mode != "add" {
            return unreadable(
                mode == "scale" ? "IA3 of the 'adapters' library" : "LORA",
                "composition_mode is '\(mode)': it scales activations, which is no sum of weights")
        }
        if fields["use_gating"]?.bool == true {
            return unreadable(
                "LORA", "use_gating is set: a gate is computed from each input, so nothing fixed can be merged")
        }
        guard let alpha = fields["alpha"]?.number?.double, alpha.isFinite else {
            return problem(
                "bad-config", nil, "has no 'alpha' in its nested 'config', so the scale is unknown", configPath)
        }
        for tensor in file.header.tensors { add(tensor, alpha) }
        spreadFused(fields)
    }

    private mutating func add(_ tensor: TensorInfo, _ alpha: Double) {
        let parts = tensor.name.split(separator: ".").map(String.init)
        guard let at = parts.lastIndex(of: "loras"), parts.count == at + 3, at > 0,
            let role: AdapterKey.Role = ["lora_A": .down, "lora_B": .up][parts[at + 2]]
        else {
            return problem(
                "foreign-tensor", tensor, "is no lora_A or lora_B of the 'adapters' library", file.path)
        }
        let path = parts[..<at].joined(separator: ".")
        if role == .down, let rank = tensor.shape.first, rank > 0 {
            reading.scales[path] = ModuleScale(rank: rank, alpha: alpha)
        }
        reading.add(TranslatedTensor(tensor), path, role)
    }

    /// Makes one pair of the factors of a layer that holds q, k and v at once.
    ///
    /// It has factors for the adapted ones alone: A (parts·rank × in), B (outputs of these × rank), each part with its own rows
    /// of both (`LoRAMergedLinear`). As one pair B has blocks, and zeros around them.
    private mutating func spreadFused(_ fields: JSONObject) {
        guard let names = fields["attn_matrices"]?.array?.compactMap(\.string), let rank = fields["r"]?.number?.int,
            rank > 0
        else { return }
        let parts = ["q", "k", "v"].indices.filter { names.contains(["q", "k", "v"][$0]) }
        var downs: [String: Int] = [:]
        for (at, entry) in reading.tensors.enumerated() where entry.key.role == .down { downs[entry.key.module] = at }
        for (at, entry) in reading.tensors.enumerated() where entry.key.role == .up {
            guard let place = downs[entry.key.module], case .stored(let up) = entry.tensor.content else { continue }
            let down = reading.tensors[place].tensor
            let isFused =
                parts.count > 1 && down.shape.count == 2 && down.shape[0] == rank * parts.count && up.shape.count == 2
                && up.shape[1] == rank && up.shape[0] % parts.count == 0
            guard isFused else { continue }
            let file = file
            let (rows, width) = (up.shape[0] / parts.count, rank * parts.count)
            reading.tensors[at].tensor = TranslatedTensor(up.name, up.dtype, [rows * 3, width]) { () throws(Problem) in
                let bytes = try file.read(up)
                let size = up.dtype.bits / 8
                var result = [UInt8](repeating: 0, count: rows * 3 * width * size)
                for (number, part) in parts.enumerated() {
                    for row in 0..<rows {
                        let (from, to) = (
                            (number * rows + row) * rank * size, ((part * rows + row) * width + number * rank) * size
                        )
                        for byte in 0..<rank * size { result[to + byte] = bytes[from + byte] }
                    }
                }
                return result
            }
            // The scale is alpha / r, though the pair has more rows.
            if let own = reading.scales[entry.key.module] {
                reading.scales[entry.key.module] = ModuleScale(rank: width, alpha: own.alpha * Double(parts.count))
            }
        }
    }

    private mutating func refuse(_ architecture: String, _ fields: JSONObject) {
        switch architecture {
        case "prefix_tuning": unreadable("PREFIX_TUNING", "it is learned input, not a change of weights")
        case "union": unreadable("UNION", "it joins several methods")
        case "reft": unreadable("REFT", "it intervenes in hidden states, which is no change of weights")
        case "prompt_tuning": unreadable("PROMPT_TUNING", "it is learned input, not a change of weights")
        default: unreadable("BOTTLENECK", "it adds layers beside the model, which is no change of weights")
        }
    }

    private mutating func unreadable(_ type: String, _ reason: String) {
        var config = PEFTConfig(unreadable: type)
        config.baseModel = self.config["model_name"]?.string
        reading.config = config
        reading.notes += OtherMethods.notes(self.config["config"]?.object ?? JSONObject())
        reading.tensors = file.header.tensors.map {
            (TranslatedTensor($0), AdapterKey(module: $0.name, role: .changed))
        }
        let hint =
            type == "BOTTLENECK"
            ? "adapter-generate runs bottlenecks; adapter-inspect shows what is in it"
            : "adapter-inspect shows what is in it"
        reading.problems.append(
            Problem(
                .incompatible, "not-lora", file: configPath, "is of the 'adapters' library, \(type): \(reason)",
                hint: hint))
    }

    private mutating func problem(_ code: String, _ tensor: TensorInfo?, _ message: String, _ path: String) {
        reading.problems.append(Problem(.incompatible, code, file: path, tensor: tensor?.name, message))
    }
}
