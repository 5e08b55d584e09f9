import Problems
import Safetensors

/// What an adapter is, from its headers and config alone.
public struct AdapterFacts: Sendable {
    /// The adapter.
    public let adapter: Adapter
    /// Its modules, with rank, alpha and scale as the config resolves them.
    public let modules: [ModuleFacts]
    /// What is wrong with it, without what merely stands against a merge.
    public let problems: [Problem]
    /// Why it cannot be merged, though nothing may be wrong with it.
    public let obstacles: [Problem]

    /// What an adapter may be without being broken: another method, or a variant that a merge has no rule for.
    private static let soundCodes: Set<String> = [
        "not-lora", "base-changed", "layer-replication", "activated-lora", "qalora", "bdlora", "arrow", "kasa",
        "monteclora", "unknown-config-field", "needs-config", "wrong-architecture", "missing-projection",
    ]

    /// Reads the facts of `adapter`.
    public init(_ adapter: Adapter) {
        self.adapter = adapter
        modules = ModuleFacts.all(of: adapter)
        let found = adapter.problems + ScaleResolver(config: adapter.config, file: adapter.configPath).problems
        obstacles = found.filter { Self.soundCodes.contains($0.code) }
        let variants = obstacles.contains { $0.code != "base-changed" && $0.code != "unknown-config-field" }
        let own = found.filter { problem in
            // The tensors of an unknown variant are not to be judged by the rules of LoRA.
            !Self.soundCodes.contains(problem.code) && !(variants && problem.code == "foreign-tensor")
        }
        problems = own + (variants || !own.isEmpty ? [] : Self.ranks(of: modules, adapter))
    }

    /// Modules whose factors have another rank than the config says, or two.
    private static func ranks(of modules: [ModuleFacts], _ adapter: Adapter) -> [Problem] {
        let scales = ScaleResolver(config: adapter.config, file: adapter.configPath)
        return modules.filter { $0.kind != .experts && $0.kind != .parameter }.compactMap { facts in
            let (a, b) = (facts.module.down, facts.module.up)
            guard a.shape.count >= 2, b.shape.count >= 2 else { return nil }
            let (own, other, said) = (a.shape[0], b.shape[1], scales.rank(of: facts.module.patternPath))
            if own == said && other == said { return nil }
            // Factors of convolutions in groups have less.
            if own == said, b.shape.count > 2, other > 0, own % other == 0 { return nil }
            let what =
                own == other
                ? "shape \(a.shape) has rank \(own), but the config says rank \(said)"
                : "shape \(a.shape) does not go with \(b.shape) of '\(b.name)' at rank \(said)"
            return Problem(
                .incompatible, "rank-mismatch", file: adapter.file.path, tensor: a.name, what,
                hint: "adapter-verify BASE ADAPTER tells more")
        }
    }

    /// The method and what comes with it: `LoRA`, `DoRA with a rank-stabilised scale`, `IA3`.
    public var method: String {
        let config = adapter.config
        let others = Tally(adapter.changes.map(\.method)).entries.map(\.value)
        if !others.isEmpty { return ((modules.isEmpty ? [] : [pairMethod]) + others).joined(separator: " and ") }
        if modules.isEmpty, adapter.dialect != .peft, config.isReadable,
            !adapter.replacements.isEmpty || !adapter.additions.isEmpty
        {
            return adapter.additions.isEmpty ? "whole parameters" : "full difference"
        }
        return pairMethod
    }

    private var pairMethod: String {
        let config = adapter.config
        guard config.type == "LORA" else { return config.type == "TRAINABLE_TOKENS" ? "trainable tokens" : config.type }
        if config.useDoRA { return config.useRSLoRA ? "DoRA with a rank-stabilised scale" : "DoRA" }
        return config.useRSLoRA ? "rsLoRA" : "LoRA"
    }

    /// Parameters that the adapter replaces, other than biases.
    public var savedParameters: [Replacement] { adapter.replacements.filter { !isBias($0) } }

    /// Biases that the adapter replaces.
    public var biases: [Replacement] { adapter.replacements.filter(isBias) }

    private func isBias(_ replacement: Replacement) -> Bool {
        guard replacement.parameter == "bias", adapter.config.bias != "none" else { return false }
        let parts = replacement.module.split(separator: ".")
        return !adapter.config.modulesToSave.contains { name in parts.contains { $0 == name } }
    }

    /// What the adapter holds besides pairs of factors, in words.
    public var extras: [String] {
        var result: [String] = []
        let saved = Set(savedParameters.map(\.module)).sorted()
        if !saved.isEmpty {
            let names = saved.prefix(3).map { NamePlace($0).leaf } + (saved.count > 3 ? ["..."] : [])
            let many = saved.count == 1 ? "a saved module" : "\(saved.count) saved modules"
            result.append("\(many) (\(names.joined(separator: ", ")))")
        }
        if !biases.isEmpty { result.append(Self.counted(biases.count, "bias", "biases")) }
        let ups = modules.count { $0.module.upBias != nil }
        if ups > 0 { result.append(Self.counted(ups, "bias", "biases") + " of lora_B") }
        let rows = adapter.tokenRows.reduce(0) { $0 + $1.rows.count }
        if rows > 0 { result.append(Self.counted(rows, "trainable token", "trainable tokens")) }
        if !adapter.additions.isEmpty {
            result.append(
                Self.counted(adapter.additions.count, "parameter that is added to", "parameters that are added to"))
        }
        let experts = modules.count { $0.kind == .experts || $0.kind == .parameter }
        if experts > 0 { result.append(Self.counted(experts, "adapted parameter", "adapted parameters")) }
        return result
    }

    private static func counted(_ count: Int, _ one: String, _ many: String) -> String {
        count == 1 ? "one \(one)" : "\(count) \(many)"
    }

    /// Why the adapter counts as one of its dialect.
    public var reason: String {
        adapter.reason
    }

    /// The ranks and how many modules have each.
    public var ranks: Tally<Int> { Tally(modules.map(\.rank)) }
    /// The alphas and how many modules have each.
    public var alphas: Tally<Double> { Tally(modules.map(\.alpha)) }
    /// The scales and how many modules have each.
    public var scales: Tally<Double> { Tally(modules.map(\.scale)) }
    /// The last name parts of the modules, and how many modules have each.
    public var targets: Tally<String> { Tally(modules.map { NamePlace(readable($0.path)).leaf }) }

    /// A path with dots around its numbers, where the dialect writes `_` for dots: `lora_unet_down_blocks.0.attentions`.
    private func readable(_ path: String) -> String {
        guard adapter.hasFlattenedNames else { return path }
        let parts = path.split(separator: "_", omittingEmptySubsequences: false)
        let isNumber = { (part: Substring) in !part.isEmpty && part.utf8.allSatisfy { (0x30...0x39).contains($0) } }
        var result = ""
        for (at, part) in parts.enumerated() {
            if at > 0 { result += isNumber(part) || isNumber(parts[at - 1]) ? "." : "_" }
            result += part
        }
        return result
    }

    /// The layers that the adapter touches.
    public var layers: [LayerSet] {
        // Of a method that is not read, the names alone tell.
        guard adapter.config.isReadable else { return LayerSet.of(adapter.storedTensors.map(\.name)) }
        return LayerSet.of(
            (modules.map(\.path) + adapter.replacements.map(\.module) + adapter.tokenRows.map(\.module)
                + adapter.changes.map(\.path) + adapter.additions.map(\.module)).map(readable))
    }

    /// Elements of the low-rank modules' tensors: what PEFT counts as LoRA parameters.
    public var lowRankParameterCount: Int { modules.reduce(0) { $0 + $1.parameterCount } }
    /// How many tensors, elements and bytes there are of each dtype.
    public var dtypes: [DTypeShare] { DTypeShare.of(adapter.storedTensors) }
}

/// The tensors of one dtype.
public struct DTypeShare: Sendable, Equatable {
    /// The dtype.
    public let dtype: DType
    /// How many tensors have it.
    public var tensors = 0
    /// Their elements.
    public var elements = 0
    /// Their bytes.
    public var bytes = 0

    /// The shares of `tensors`, the largest first.
    public static func of(_ tensors: some Sequence<TensorInfo>) -> [DTypeShare] {
        var shares: [DType: DTypeShare] = [:]
        for tensor in tensors {
            var share = shares[tensor.dtype] ?? DTypeShare(dtype: tensor.dtype)
            share.tensors += 1
            share.elements += tensor.elementCount
            share.bytes += tensor.byteCount
            shares[tensor.dtype] = share
        }
        return shares.values.sorted { a, b in a.bytes != b.bytes ? a.bytes > b.bytes : a.dtype > b.dtype }
    }
}
