import Archives
import Files
import Problems
import Safetensors
import Tensors

/// The factors of one adapted module or parameter.
public struct AdapterModule: Sendable {
    /// The module's path in the model, without PEFT's prefix.
    public let path: String
    /// For several adapted parameters of one module: how deep PEFT nested this one (0 is the outermost).
    public let depth: Int
    /// Whether the factors are those of an embedding: A (rank × vocabulary), B (dimension × rank).
    public let isEmbedding: Bool
    /// A: (rank × in), of a convolution (rank × in × kernel...), of experts (experts·rank × in).
    public let down: TensorInfo
    /// B: (out × rank), of a convolution (out × rank × 1...), of experts (out × rank·experts).
    public let up: TensorInfo
    /// The bias of the up projection (out).
    public let upBias: TensorInfo?
    /// DoRA's magnitude, one number for each output.
    public let magnitude: TensorInfo?
    /// How often PEFT applies the delta: twice for the output projection inside `nn.MultiheadAttention`, which its wrapper
    /// adds and then merges again, in training as in merging (`tuners/lora/layer.py`, 0.21.2).
    public let repetitions: Int

    /// The path that rank and alpha patterns are matched with: PEFT gives the output projection inside an attention module
    /// the rank and alpha of that module.
    package var patternPath: String { repetitions > 1 ? String(path.dropLast(".out_proj".utf8.count)) : path }

    /// The rank that the tensors have; for experts, all ranks together.
    public var tensorRank: Int { down.shape.first ?? 0 }
}

/// A parameter that the adapter replaces whole.
public struct Replacement: Sendable {
    /// The module's path.
    public let module: String
    /// The parameter's name in the module: `weight`, `bias`, ...
    public let parameter: String
    /// The new value.
    public let tensor: TensorInfo
    /// Whether it stood under PEFT's `base_layer`, as the copy of a module that is adapted besides.
    public let isBaseLayer: Bool
}

/// Rows of an embedding that the adapter replaces (`trainable_token_indices`).
public struct TokenRows: Sendable, Equatable {
    /// The embedding's path.
    public let module: String
    /// The new rows (count × dimension).
    public let tensor: TensorInfo
    /// Which rows they are.
    public let rows: [Int]
}

/// An adapter: its file, its config, and what each tensor in it is.
public final class Adapter: Sendable {
    /// The path as the user named it.
    public let path: String
    /// The tensors; of other dialects than PEFT's, as PEFT would lay them out, turned or computed when they are read.
    public let file: SafetensorsFile
    /// The file as it is.
    package let source: any ByteSource
    /// What the file itself holds, under the names and in the shapes that it has there.
    public let storedTensors: [TensorInfo]
    /// The family of files that it belongs to.
    public let dialect: Dialect
    /// Which facts of the file decided that.
    public let reason: String
    /// How module paths are written.
    let naming: DialectReading.Naming
    /// What else the file says about itself, for people.
    public let notes: [(label: String, text: String)]
    /// The config.
    public let config: PEFTConfig
    /// The path of the config, or of the file where it has none; for messages.
    public let configPath: String
    /// The bytes of the config file, none where the dialect has no such file.
    public let configBytes: [UInt8]
    let location: AdapterLocation
    /// What lies beside it, where a directory or an archive was named.
    package let folder: (any Folder)?
    /// The archive that it is packed in, if it is.
    public let archive: Archive?
    /// Pairs of factors, in the order of their paths.
    public let modules: [AdapterModule]
    /// Parameters that are replaced whole.
    public let replacements: [Replacement]
    /// What replaced embeddings were before; of use only to a head that shares them.
    package let originals: [Replacement]
    /// Rows of embeddings that are replaced.
    public let tokenRows: [TokenRows]
    /// Changes that are no products of two factors.
    public let changes: [ModuleChange]
    /// Parameters that something of the same size is added to.
    public let additions: [ParameterAddition]
    /// What is wrong with the adapter by itself, or cannot be merged.
    public let problems: [Problem]

    /// Reads the headers and the config of the adapter at `path`: a directory, a file, or an archive of either.
    public convenience init(path: String) throws(Problem) { try self.init(AdapterLocation(path: path), path: path) }

    /// The same for what a folder holds.
    package convenience init(_ folder: any Folder) throws(Problem) {
        try self.init(AdapterLocation(directory: folder), path: folder.path)
    }

    init(
        _ location: AdapterLocation, path: String, base: Checkpoint? = nil, renames: [String: String] = [:]
    ) throws(Problem) {
        self.path = path
        self.location = location
        folder = location.folder
        archive = location.archive
        source = location.source
        let opened = try DialectReader(location, base: base).read()
        (file, storedTensors) = (opened.file, opened.storedTensors)
        var reading = opened.reading
        if !renames.isEmpty { reading.rename(renames) }
        (dialect, reason, naming, notes) = (reading.dialect, reading.why, reading.naming, reading.notes)
        let own = reading.dialect.hasConfig ? location.config : nil
        (configPath, configBytes) = (own?.path ?? source.path, own?.bytes ?? [])
        config = reading.config
        var assembly = AdapterAssembly(config: config, file: source.path)
        if opened.isReadable {
            for (tensor, key) in zip(file.header.tensors, reading.tensors.map(\.key)) { assembly.add(tensor, key) }
            let hasMore = !reading.changes.isEmpty || !reading.additions.isEmpty || !reading.problems.isEmpty
            assembly.finish(hasMore: hasMore)
        }
        modules = assembly.modules
        replacements = assembly.replacements
        originals = assembly.originals
        tokenRows = assembly.tokenRows
        let header = file.header
        let find: DialectReading.TensorLookup = { name in
            guard let info = header[name] else { preconditionFailure("a reader names only what it has added") }
            return info
        }
        changes = opened.isReadable ? reading.changes.map { $0(find) } : []
        additions =
            opened.isReadable
            ? reading.additions.map {
                ParameterAddition(module: $0.module, parameter: $0.parameter, tensor: find($0.tensor), scale: $0.scale)
            } : []
        problems = assembly.problems + reading.problems + config.problems
    }

    /// What libraries other than PEFT call an adapter's file in its directory, and PEFT's own name.
    package static var fileNames: [String] { AdapterLocation.tensorNames }

    /// Whether a file is an adapter of a dialect other than PEFT's, by its names.
    package static func isForeignDialect(_ header: Header) -> Bool {
        header.tensors.contains { tensor in
            // diffusers once wrote `to_q.lora.down.weight` and `to_q_lora.down.weight`.
            let mayBe =
                AdapterKey.mayBelongToAdapter(tensor.name) || tensor.name.hasPrefix("lycoris_")
                || tensor.name.hasSuffix("lora.down.weight")
            guard mayBe else { return false }
            return DialectFinder.dialect(of: tensor.name).map { $0 != .peft } ?? false
        }
    }

    /// Parameters that the adapter brings.
    public var parameterCount: Int { storedTensors.reduce(0) { $0 + $1.elementCount } }
}

/// Sorts the tensors of a file into modules.
private struct AdapterAssembly {
    let config: PEFTConfig
    let file: String
    var modules: [AdapterModule] = []
    var replacements: [Replacement] = []
    var originals: [Replacement] = []
    var tokenRows: [TokenRows] = []
    var problems: [Problem] = []

    private var parts: [Slot: [(AdapterKey.Role, TensorInfo)]] = [:]
    private var attentionOutputs: Set<String> = []
    private var names: Set<String> = []

    private struct Slot: Hashable {
        let path: String
        let depth: Int
    }

    init(config: PEFTConfig, file: String) {
        self.config = config
        self.file = file
    }

    mutating func add(_ tensor: TensorInfo, _ key: AdapterKey) {
        if let name = key.adapterName, names.insert(name).inserted, names.count == 2 {
            error(
                "several-adapters", tensor, "belongs to the adapter '\(name)', but others belong to another one",
                hint: "save each adapter to a file of its own")
        }
        switch key.role {
        case .foreign(let stem):
            let method = PEFTKinds.reads(config.type) ? config.type : "LoRA"
            let what = stem.isEmpty ? "is no tensor of a PEFT adapter" : "belongs to \(stem), not to \(method)"
            error("foreign-tensor", tensor, what, hint: "the config says peft_type \(config.type)")
        case .parameter(let parameter):
            replacements.append(
                Replacement(module: key.module, parameter: parameter, tensor: tensor, isBaseLayer: key.depth > 0))
        case .original(let parameter):
            originals.append(
                Replacement(module: key.module, parameter: parameter, tensor: tensor, isBaseLayer: false))
        case .tokenRows: addRows(tensor, module: key.module)
        case .changed: break
        default:
            let slot = Slot(path: key.module, depth: key.depth)
            if key.isAttentionOutput { attentionOutputs.insert(key.module) }
            if parts[slot]?.contains(where: { $0.0 == key.role }) == true {
                return error("duplicate-tensor", tensor, "says the same part of '\(key.module)' as another tensor")
            }
            parts[slot, default: []].append((key.role, tensor))
        }
    }

    private mutating func addRows(_ tensor: TensorInfo, module: String) {
        let rows: [Int]
        switch config.trainableTokens {
        case .none: rows = []
        case .rows(let list): rows = list
        case .byModule(let map):
            let named = map.first { module == $0.key || module.hasSuffix("." + $0.key) }
            // A tied head has the rows of the embedding, and PEFT names only that one.
            rows = (named ?? (map.count == 1 ? map.first : nil))?.value ?? []
        }
        guard tensor.shape.count == 2, tensor.shape[0] == rows.count else {
            return error(
                "row-count", tensor,
                "has shape \(tensor.shape), but the config names \(rows.count) rows of '\(module)'",
                hint: "'trainable_token_indices' in the config must list one row number for each row of the tensor")
        }
        if Set(rows).count != rows.count {
            error("row-count", tensor, "has rows that the config names twice")
        }
        tokenRows.append(TokenRows(module: module, tensor: tensor, rows: rows))
    }

    mutating func finish(hasMore: Bool) {
        for original in originals where !replacements.contains(where: { $0.module == original.module }) {
            error(
                "foreign-tensor", original.tensor,
                "is what '\(original.module)' was before it was replaced, but it is not",
                hint: "the file is incomplete: save the adapter again")
        }
        let order = { (a: Slot, b: Slot) in
            a.path == b.path ? a.depth < b.depth : a.path.precedesNaturally(b.path)
        }
        for (slot, found) in parts.sorted(by: { order($0.key, $1.key) }) {
            assemble(slot, Dictionary(found.map { (Self.name($0.0), $0.1) }) { first, _ in first })
        }
        if modules.isEmpty && replacements.isEmpty && tokenRows.isEmpty && problems.isEmpty && !hasMore {
            problems.append(
                Problem(
                    .incompatible, "empty-adapter", file: file, "holds no adapter tensors, so there is nothing to do"))
        }
    }

    private static func name(_ role: AdapterKey.Role) -> String {
        switch role {
        case .down: "lora_A"
        case .up: "lora_B"
        case .upBias: "lora_B.bias"
        case .embeddingDown: "lora_embedding_A"
        case .embeddingUp: "lora_embedding_B"
        case .magnitude: "lora_magnitude_vector"
        case .tokenRows, .parameter, .original, .changed, .foreign: ""
        }
    }

    private mutating func assemble(_ slot: Slot, _ parts: [String: TensorInfo]) {
        let isEmbedding = parts["lora_embedding_A"] != nil || parts["lora_embedding_B"] != nil
        if isEmbedding, let stray = parts["lora_A"] ?? parts["lora_B"] ?? parts["lora_B.bias"] {
            return error(
                "mixed-factors", stray, "stands beside embedding factors of the same module '\(slot.path)'",
                hint: "a module is adapted as a linear layer or as an embedding, not both")
        }
        let (a, b) = isEmbedding ? ("lora_embedding_A", "lora_embedding_B") : ("lora_A", "lora_B")
        guard let down = parts[a], let up = parts[b] else {
            let missing = parts[a] == nil ? a : b
            if let other = parts.values.min(by: { $0.name < $1.name }) {
                error(
                    "missing-half", other, "has no matching '\(missing)' in the file",
                    hint: "the file is incomplete: save the adapter again, or download it again")
            }
            return
        }
        check(slot, parts)
        if let empty = [down, up].first(where: { $0.shape.contains(0) }) {
            return error(
                "empty-factor", empty, "has shape \(empty.shape), so it holds nothing",
                hint: "it was saved by a framework that shards parameters: gather them before saving")
        }
        modules.append(
            AdapterModule(
                path: slot.path, depth: slot.depth, isEmbedding: isEmbedding, down: down, up: up,
                upBias: parts["lora_B.bias"], magnitude: parts["lora_magnitude_vector"],
                repetitions: attentionOutputs.contains(slot.path) ? 2 : 1))
    }

    /// The tensors of a module against the config's flags.
    private mutating func check(_ slot: Slot, _ parts: [String: TensorInfo]) {
        if config.isFile { checkFlags(parts) }
        for tensor in parts.values.sorted(by: { $0.begin < $1.begin }) where tensor.dtype.kernel == nil {
            error(
                "bad-dtype", tensor, "is \(tensor.dtype.rawValue), but factors are floating-point numbers",
                hint: "save the adapter in float32, float16 or bfloat16")
        }
    }

    private mutating func checkFlags(_ parts: [String: TensorInfo]) {
        if let magnitude = parts["lora_magnitude_vector"], !config.useDoRA {
            error(
                "config-contradicts", magnitude, "is a DoRA magnitude, but the config says \"use_dora\": false",
                hint: "one of the two is wrong: with the flag as it is, PEFT ignores this tensor")
        }
        if config.useDoRA, parts["lora_magnitude_vector"] == nil,
            let down = parts["lora_A"] ?? parts["lora_embedding_A"]
        {
            error(
                "missing-half", down, "has no matching 'lora_magnitude_vector', but the config says \"use_dora\": true",
                hint: "the file is incomplete: save the adapter again")
        }
        if let bias = parts["lora_B.bias"], !config.loraBias {
            error(
                "config-contradicts", bias, "is a bias of lora_B, but the config says \"lora_bias\": false",
                hint: "one of the two is wrong: with the flag as it is, PEFT ignores this tensor")
        }
        if config.loraBias, parts["lora_B.bias"] == nil, let up = parts["lora_B"] {
            error(
                "missing-half", up, "has no matching 'lora_B.bias', but the config says \"lora_bias\": true",
                hint: "the file is incomplete: save the adapter again")
        }
    }

    private mutating func error(_ code: String, _ tensor: TensorInfo, _ message: String, hint: String? = nil) {
        problems.append(
            Problem(.incompatible, code, file: file, tensor: tensor.name, message, hint: hint))
    }
}
