import Files
import GGUF
import Problems
import Safetensors
import StrictJSON
import Tensors

/// Reads LoRA in llama.cpp's files (`llama-adapter.cpp`): one alpha for all, the rank of each tensor, alpha 0 for a scale of 1.
///
/// Names are those of GGUF, and rows of q and k may be in another order than the model's. Only a base tells what they are
/// called there and how many heads it has; with one, names and rows become the model's.
struct GGUFReader {
    private let file: GGUFFile
    private let base: Checkpoint?
    private let architecture: String
    private var reading: DialectReading

    /// - Parameter base: the model whose names and heads are used; without it GGUF's names stay.
    init(_ file: GGUFFile, base: Checkpoint?) throws(Problem) {
        self.file = file
        self.base = base
        architecture = try file.text("general.architecture") ?? ""
        reading = DialectReading(
            dialect: .gguf, why: "it is a GGUF file of the type 'adapter'", naming: base == nil ? .gguf : .dotted,
            config: PEFTConfig(scales: [:]))
    }

    /// Reads metadata, names and pairs.
    func read() throws(Problem) -> DialectReading {
        var copy = self
        try copy.run()
        return copy.reading
    }

    private mutating func run() throws(Problem) {
        reading.notes.append(("architecture", architecture))
        for (key, wanted) in [("general.type", "adapter"), ("adapter.type", "lora")] {
            let found = try file.text(key)
            guard found == wanted else {
                let what = found.map { "'\($0)'" } ?? "missing"
                return problem(
                    "not-lora", nil, "is no LoRA adapter: '\(key)' is \(what), not '\(wanted)'",
                    hint: "llama.cpp's convert_lora_to_gguf.py and adapter-convert write adapters")
            }
        }
        if file.header["adapter.alora.invocation_tokens"] != nil {
            problem(
                "activated-lora", nil,
                "is an activated LoRA: it acts only after its invocation tokens, so it cannot become part of the weights",
                hint: "serve it as an adapter")
        }
        guard let alpha = try file.number("adapter.lora.alpha"), alpha.isFinite else {
            return problem(
                "bad-config", nil, "has no finite 'adapter.lora.alpha', so the scale is unknown",
                hint: "convert it again, or download it again")
        }
        checkBase()
        var pairs: [String: (a: GGUFTensor?, b: GGUFTensor?)] = [:]
        for tensor in file.tensors {
            if let name = Self.stem(tensor.name, ".lora_a") {
                pairs[name, default: (nil, nil)].a = tensor
            } else if let name = Self.stem(tensor.name, ".lora_b") {
                pairs[name, default: (nil, nil)].b = tensor
            } else {
                problem(
                    "foreign-tensor", tensor, "is no lora_a or lora_b",
                    hint: "llama.cpp would refuse it, too; a norm it would skip without a word")
            }
        }
        for (name, pair) in pairs.sorted(by: { $0.key.precedesNaturally($1.key) }) {
            guard let a = pair.a, let b = pair.b else {
                problem(
                    "missing-half", pair.a ?? pair.b,
                    "has no matching '\(pair.a == nil ? "lora_a" : "lora_b")' in the file",
                    hint: "the file is incomplete: convert it again, or download it again")
                continue
            }
            add(name, a, b, alpha)
        }
    }

    private static func stem(_ name: String, _ suffix: String) -> String? {
        name.hasSuffix(suffix) ? String(name.dropLast(suffix.utf8.count)) : nil
    }

    private mutating func problem(
        _ code: String, _ tensor: GGUFTensor?, _ message: String, hint: String? = nil
    ) {
        reading.problems.append(
            Problem(.incompatible, code, file: file.path, tensor: tensor?.name, message, hint: hint))
    }

    /// A base of another architecture has other names, or the same with another meaning.
    private mutating func checkBase() {
        guard let base else { return }
        guard let type = base.config?.object?["model_type"]?.string else {
            return problem(
                "needs-config", nil,
                "needs the base's config.json: it says how many heads there are, and rows depend on that",
                hint: "name the model's directory as BASE, with its config.json")
        }
        let own = GGUFNames.architecture(modelType: type)
        guard own == architecture else {
            return problem(
                "wrong-architecture", nil,
                "is for '\(architecture)', but the base is a '\(type)'"
                    + (own.map { ", which is '\($0)' in GGUF" } ?? ", which has no names in GGUF that are known here"),
                hint: "is this the base that the adapter was trained on?")
        }
    }

    // MARK: Pairs

    private mutating func add(_ name: String, _ a: GGUFTensor, _ b: GGUFTensor, _ alpha: Double) {
        for tensor in [a, b] where !tensor.type.hasReadableValues {
            return problem(
                "bad-dtype", tensor, "is \(tensor.type.name), of which values are not read here",
                hint: "write the adapter as F32, F16, BF16 or Q8_0")
        }
        let isEmbedding = name == "token_embd.weight"
        let (rank, dimensions) = (b.ne[0], a.ne.count)
        let own = isEmbedding ? a.ne[0] : dimensions > 1 ? a.ne[1] : 0
        guard dimensions == b.ne.count, dimensions == 2 || dimensions == 3, own == rank,
            dimensions == 2 || a.ne[2] == b.ne[2]
        else {
            return problem("bad-factor", a, "\(a.shape) does not go with \(b.shape) of '\(b.name)'")
        }
        // llama.cpp takes the adapter's own scale alone where alpha is 0.
        let scale = ModuleScale(rank: rank, alpha: alpha == 0 ? Double(rank) : alpha)
        if dimensions == 3 { return addExperts(name, a, b, scale) }
        let path = ParameterName.module(of: modelName(name))
        reading.scales[path] = scale
        if isEmbedding {
            let (rows, columns) = (a.shape[0], a.shape[1])
            add(a, [columns, rows], path, .embeddingDown) { bytes, size in
                bytes.transposed(rows: rows, columns: columns, size: size)
            }
            add(b, b.shape, path, .embeddingUp) { bytes, _ in bytes }
            return
        }
        add(a, a.shape, path, .down) { bytes, _ in bytes }
        let (order, rows) = (permutation(name), b.shape[0])
        guard order.order(rows: rows) != nil else {
            return problem(
                "shape-mismatch", b, "has \(rows) rows, which are not of as many heads as the base's config says",
                hint: "is this the base that the adapter was trained on?")
        }
        add(b, b.shape, path, .up) { bytes, _ in order.undone(on: bytes, rows: rows) ?? bytes }
    }

    /// Adds a tensor whose bytes are rearranged by `change`, which is given the size of an element.
    private mutating func add(
        _ tensor: GGUFTensor, _ shape: [Int], _ path: String, _ role: AdapterKey.Role,
        _ change: @escaping @Sendable ([UInt8], Int) -> [UInt8]
    ) {
        let file = file
        let dtype = tensor.type.dtype ?? .f32
        reading.add(
            TranslatedTensor(tensor.name, dtype, shape) { () throws(Problem) in
                change(try Self.bytes(tensor, file), dtype.bits / 8)
            }, path, role)
    }

    /// The bytes of a tensor; of quantised ones, of the float32 numbers that they stand for.
    private static func bytes(_ tensor: GGUFTensor, _ file: GGUFFile) throws(Problem) -> [UInt8] {
        guard tensor.type.dtype == nil else { return try file.read(tensor) }
        return try TensorValues.rounded(file.doubles(of: tensor), to: .f32)
    }

    /// The base's name of a parameter, if there is a base and it has one.
    private func modelName(_ name: String, expert: Int? = nil) -> String {
        guard let base else { return name }
        let candidates = GGUFNames.candidates(for: name, architecture: architecture, expert: expert)
        return candidates.first { base.lookup($0) != nil }
            ?? (name == "output.weight" ? "lm_head.weight" : candidates.first ?? name)
    }

    private func permutation(_ name: String) -> RowPermutation {
        guard let config = base?.config?.object else { return .none }
        let heads = BaseTraits.heads(config)
        return RowPermutation(
            name, architecture: architecture, heads: heads.queries, keyValueHeads: heads.keys)
    }

    /// All experts of a block: one pair for each where the base has them apart, else as PEFT packs them.
    private mutating func addExperts(_ name: String, _ a: GGUFTensor, _ b: GGUFTensor, _ scale: ModuleScale) {
        let (experts, rank, inputs, outputs) = (a.ne[2], scale.rank, a.ne[0], b.ne[1])
        let file = file
        let names = (0..<experts).map { modelName(name, expert: $0) }
        if let base, names.allSatisfy({ base.lookup($0) != nil }), Set(names).count == experts {
            for (expert, name) in names.enumerated() {
                let path = ParameterName.module(of: name)
                reading.scales[path] = scale
                addPart(a, [rank, inputs], expert, path, .down)
                addPart(b, [outputs, rank], expert, path, .up)
            }
            return
        }
        let parameter = modelName(name)
        reading.config.addTargetParameter(parameter)
        reading.scales[parameter] = scale
        let path = ParameterName.module(of: parameter)
        add(a, [experts * rank, inputs], path, .down) { bytes, _ in bytes }
        let dtype = b.type.dtype ?? .f32
        reading.add(
            TranslatedTensor(b.name, dtype, [outputs, experts * rank]) { () throws(Problem) in
                try Self.bytes(b, file).rankMajor(experts: experts, outputs: outputs, rank: rank, size: dtype.bits / 8)
            }, path, .up)
    }

    private mutating func addPart(
        _ tensor: GGUFTensor, _ shape: [Int], _ expert: Int, _ path: String, _ role: AdapterKey.Role
    ) {
        let file = file
        let dtype = tensor.type.dtype ?? .f32
        let count = shape[0] * shape[1] * dtype.bits / 8
        reading.add(
            TranslatedTensor("\(tensor.name)[\(expert)]", dtype, shape) { () throws(Problem) in
                Array(try Self.bytes(tensor, file)[expert * count..<(expert + 1) * count])
            }, path, role)
    }
}

extension [UInt8] {
    /// The bytes of a matrix (rows × columns) with rows and columns exchanged.
    package func transposed(rows: Int, columns: Int, size: Int) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: count)
        for row in 0..<rows {
            for column in 0..<columns {
                let (from, to) = ((row * columns + column) * size, (column * rows + row) * size)
                for byte in 0..<size { result[to + byte] = self[from + byte] }
            }
        }
        return result
    }

    /// B of experts, (expert × out × rank), as PEFT packs it: (out × rank·experts), one rank after the other.
    func rankMajor(experts: Int, outputs: Int, rank: Int, size: Int) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: count)
        for expert in 0..<experts {
            for row in 0..<outputs {
                for k in 0..<rank {
                    let (from, to) = ((expert * outputs + row) * rank + k, (row * rank + k) * experts + expert)
                    for byte in 0..<size { result[to * size + byte] = self[from * size + byte] }
                }
            }
        }
        return result
    }
}
