import Problems
import Safetensors
import StrictJSON
import Tensors

/// Reads mlx-lm's adapters (`mlx_lm/tuner/lora.py`, `dora.py`, `utils.py`).
///
/// `lora_a` is (in × rank) and `lora_b` (rank × out), so both are turned; of experts they are (expert × rank × in) and
/// (expert × out × rank). The scale is in the config, as it is.
struct MLXReader {
    private let file: SafetensorsFile
    private let config: JSONObject
    private let configPath: String
    private var reading: DialectReading

    init(_ file: SafetensorsFile, config: JSONObject, configPath: String, why: String) {
        self.file = file
        self.config = config
        self.configPath = configPath
        reading = DialectReading(dialect: .mlx, why: why, config: PEFTConfig(scales: [:]))
    }

    /// Reads names, scales and config.
    func read() -> DialectReading {
        var copy = self
        copy.run()
        return copy.reading
    }

    private mutating func run() {
        let type = config["fine_tune_type"]?.string ?? "lora"
        reading.config.baseModel = config["model"]?.string
        reading.notes.append(("type", type))
        if let count = config["num_layers"]?.number?.int {
            reading.notes.append(("trained layers", count > 0 ? "the last \(count)" : "all"))
        }
        guard ["lora", "dora", "full"].contains(type) else {
            return problem(
                "bad-config", nil, "says fine_tune_type '\(type)', but lora, dora or full was needed", file: configPath)
        }
        if type == "full" {
            for tensor in file.header.tensors { addWhole(tensor) }
            return
        }
        reading.config.useDoRA = type == "dora"
        addPairs(scale: scale())
    }

    private mutating func problem(
        _ code: String, _ tensor: TensorInfo?, _ message: String, hint: String? = nil, file: String? = nil
    ) {
        reading.problems.append(
            Problem(
                .incompatible, code, file: file ?? self.file.path, tensor: tensor?.name, message, hint: hint))
    }

    private mutating func scale() -> Double {
        guard let fields = config["lora_parameters"]?.object else {
            problem(
                "bad-config", nil, "has no 'lora_parameters', and without them the scale of the adapter is unknown",
                hint: "copy the adapter_config.json that was saved with the adapter to the same directory",
                file: configPath)
            return 1
        }
        // mlx-lm's own default.
        guard let value = fields["scale"] else { return 20 }
        guard let scale = value.number?.double, scale.isFinite else {
            problem("bad-config", nil, "has a 'scale' that is no finite number", file: configPath)
            return 1
        }
        return scale
    }

    private mutating func addWhole(_ tensor: TensorInfo) {
        guard let dot = tensor.name.lastIndex(of: ".") else {
            return problem("foreign-tensor", tensor, "is no parameter of a module")
        }
        let parameter = String(tensor.name[tensor.name.index(after: dot)...])
        reading.add(TranslatedTensor(tensor), String(tensor.name[..<dot]), .parameter(parameter))
    }

    private mutating func addPairs(scale: Double) {
        var modules: [String: [String: TensorInfo]] = [:]
        for tensor in file.header.tensors {
            guard let dot = tensor.name.lastIndex(of: ".") else {
                problem("foreign-tensor", tensor, "is no lora_a, lora_b or m")
                continue
            }
            let part = String(tensor.name[tensor.name.index(after: dot)...])
            guard ["lora_a", "lora_b", "m"].contains(part) else {
                problem(
                    "foreign-tensor", tensor, "is no lora_a, lora_b or m",
                    hint: "with \"fine_tune_type\": \"full\" in the config, tensors are whole parameters")
                continue
            }
            modules[String(tensor.name[..<dot]), default: [:]][part] = tensor
        }
        for (path, parts) in modules.sorted(by: { $0.key.precedesNaturally($1.key) }) { add(path, parts, scale) }
    }

    private mutating func add(_ path: String, _ parts: [String: TensorInfo], _ scale: Double) {
        guard let a = parts["lora_a"], let b = parts["lora_b"] else {
            let missing = parts["lora_a"] == nil ? "lora_a" : "lora_b"
            return problem(
                "missing-half", parts.values.min { $0.name < $1.name }, "has no matching '\(missing)' in the file",
                hint: "the file is incomplete: save the adapter again, or download it again")
        }
        if b.shape.count == 3 { return addExperts(path, a, b, scale) }
        guard a.shape.count == 2, b.shape.count == 2, !a.shape.contains(0), !b.shape.contains(0) else {
            return problem("bad-factor", a, "\(a.shape) does not go with \(b.shape) of '\(b.name)'")
        }
        let isEmbedding = BaseTraits.embeddingNames.contains(BaseTraits.lastPart(path))
        let rank = a.shape[1]
        reading.scales[path] = ModuleScale(rank: rank, alpha: scale * Double(rank))
        reading.add(.transposed(a, of: file), path, isEmbedding ? .embeddingDown : .down)
        reading.add(.transposed(b, of: file), path, isEmbedding ? .embeddingUp : .up)
        if let m = parts["m"] { reading.add(TranslatedTensor(m), path, .magnitude) }
    }

    /// Factors of experts, as PEFT packs them: A expert by expert, B rank by rank.
    private mutating func addExperts(_ path: String, _ a: TensorInfo, _ b: TensorInfo, _ scale: Double) {
        let (experts, out, rank) = (b.shape[0], b.shape[1], b.shape[2])
        let isPair = a.shape == [experts, rank, a.shape.last ?? 0] || a.shape == [experts * rank, a.shape.last ?? 0]
        guard isPair, experts > 0, rank > 0 else {
            return problem("bad-factor", a, "\(a.shape) does not go with \(b.shape) of '\(b.name)'")
        }
        let parameter = path + ".weight"
        reading.config.addTargetParameter(parameter)
        reading.scales[parameter] = ModuleScale(rank: rank, alpha: scale * Double(rank))
        reading.add(TranslatedTensor(a, shape: [experts * rank, a.shape.last ?? 0]), path, .down)
        let file = file
        let turned = TranslatedTensor(b.name, b.dtype, [out, experts * rank]) { () throws(Problem) in
            try file.read(b).rankMajor(experts: experts, outputs: out, rank: rank, size: b.dtype.bits / 8)
        }
        reading.add(turned, path, .up)
    }
}

extension TranslatedTensor {
    /// A matrix with rows and columns exchanged.
    static func transposed(_ tensor: TensorInfo, of file: SafetensorsFile) -> TranslatedTensor {
        let (rows, columns) = (tensor.shape[0], tensor.shape[1])
        return TranslatedTensor(tensor.name, tensor.dtype, [columns, rows]) { () throws(Problem) in
            try file.read(tensor).transposed(rows: rows, columns: columns, size: tensor.dtype.bits / 8)
        }
    }
}
