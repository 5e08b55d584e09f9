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
    private let base: Checkpoint?
    private var reading: DialectReading

    /// - Parameter base: the model, if it is known: experts may lie apart in it.
    init(_ file: SafetensorsFile, config: JSONObject, configPath: String, base: Checkpoint?, why: String) {
        self.file = file
        self.base = base
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

    /// What mlx-lm's stacked experts are called one by one: Mixtral's names, and those of most others.
    private static func expertName(_ path: String, _ expert: Int) -> [String] {
        guard let range = path.firstRange(of: ".switch_mlp.") else { return [] }
        let (stem, leaf) = (path[..<range.lowerBound], String(path[range.upperBound...]))
        let mixtral = ["gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"][leaf]
        return [leaf, mixtral].compactMap { $0 }.map { "\(stem).experts.\(expert).\($0)" }
    }

    /// Adds a pair for each expert where the base has them apart; false if it does not.
    private mutating func addApart(_ path: String, _ a: TensorInfo, _ b: TensorInfo, _ scale: Double) -> Bool {
        guard let base, base.lookup(path + ".weight") == nil else { return false }
        let (experts, out, rank, into) = (b.shape[0], b.shape[1], b.shape[2], a.shape.last ?? 0)
        let names = (0..<experts).map { expert in
            Self.expertName(path, expert).first { base.lookup($0 + ".weight") != nil }
        }
        guard experts > 0, !names.contains(nil) else { return false }
        for (expert, name) in names.enumerated() {
            guard let name else { continue }
            reading.scales[name] = ModuleScale(rank: rank, alpha: scale * Double(rank))
            addPart(a, [rank, into], expert, name, .down)
            addPart(b, [out, rank], expert, name, .up)
        }
        return true
    }

    private mutating func addPart(
        _ tensor: TensorInfo, _ shape: [Int], _ expert: Int, _ path: String, _ role: AdapterKey.Role
    ) {
        let (file, count) = (file, shape[0] * shape[1] * tensor.dtype.bits / 8)
        reading.add(
            TranslatedTensor("\(tensor.name)[\(expert)]", tensor.dtype, shape) { () throws(Problem) in
                try file.read(tensor, bytes: expert * count..<(expert + 1) * count)
            }, path, role)
    }

    /// Factors of experts, as PEFT packs them: A expert by expert, B rank by rank.
    private mutating func addExperts(_ path: String, _ a: TensorInfo, _ b: TensorInfo, _ scale: Double) {
        let (experts, out, rank) = (b.shape[0], b.shape[1], b.shape[2])
        let isPair = a.shape == [experts, rank, a.shape.last ?? 0] || a.shape == [experts * rank, a.shape.last ?? 0]
        guard isPair, experts > 0, rank > 0 else {
            return problem("bad-factor", a, "\(a.shape) does not go with \(b.shape) of '\(b.name)'")
        }
        if addApart(path, a, b, scale) { return }
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
