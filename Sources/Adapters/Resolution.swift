import Problems
import Safetensors
import Tensors

/// What one adapter does to one base: every tensor it changes, and everything that is wrong with the pair.
public struct Resolution: Sendable {
    /// Changes, in the order of the tensors' names.
    public fileprivate(set) var updates: [TensorUpdate] = []
    /// What was found, in the order it was found.
    public fileprivate(set) var problems: [Problem] = []
    /// Modules whose names had to be matched by their ends, as (adapter's, base's) names.
    public fileprivate(set) var renamed: [(adapter: String, base: String)] = []
    /// What the base is.
    public let traits: BaseTraits
    /// Whether the merged model stores an output head that the base shares with its embedding.
    public fileprivate(set) var unties = false
    /// Tensors of the base whose values were looked at to decide what the adapter does.
    package internal(set) var consulted: Set<String> = []

    /// Matches `adapter` with `base`, from headers and configs alone.
    public init(adapter: Adapter, base: Checkpoint) {
        traits = BaseTraits(base)
        var resolver = Resolver(adapter: adapter, base: base, traits: traits)
        resolver.run()
        updates = resolver.updates.values.sorted { $0.name < $1.name }
        problems = adapter.problems + resolver.problems
        renamed = resolver.renamed
        unties = resolver.unties
        consulted = resolver.consulted
    }

    /// Forgets the replacement of a tensor, which says nothing that is not said otherwise.
    mutating func dropReplacement(of name: String) {
        guard let at = updates.firstIndex(where: { $0.name == name }) else { return }
        updates[at].replacement = nil
        if updates[at].isEmpty { updates.remove(at: at) }
    }

    /// Whether nothing stands against a merge.
    public var fits: Bool { !problems.contains { $0.severity == .error } }
}

/// Walks through an adapter and finds the place of each part in the base.
struct Resolver {
    let adapter: Adapter
    let base: Checkpoint
    let traits: BaseTraits
    let sharedHead: SharedHead?
    let names: BaseNames
    /// The parameters that the config targets in modules of the adapter, by the module's path.
    private(set) var targetedParameters: [String: [String]] = [:]
    let scales: ScaleResolver
    var updates: [String: TensorUpdate] = [:]
    var problems: [Problem] = []
    var renamed: [(adapter: String, base: String)] = []
    /// Base tensors that a low-rank delta already goes to, by the module that named them.
    var owners: [String: String] = [:]
    /// Linear modules with in = out, whose orientation is decided last.
    var undecided: [(module: AdapterModule, weight: TensorInfo)] = []
    var orientationVotes = (rows: 0, columns: 0)
    /// Whether embedding and tied head part.
    var unties = false
    /// Tensors of the base whose values were looked at.
    var consulted: Set<String> = []

    init(adapter: Adapter, base: Checkpoint, traits: BaseTraits) {
        self.adapter = adapter
        self.base = base
        self.traits = traits
        sharedHead = SharedHead(base, traits, named: Self.headName(adapter, traits))
        names = BaseNames(
            base, tie: traits.tie, sharedHead: sharedHead, naming: ModelNaming(traits),
            flattened: adapter.naming == .flattened ? FlattenedNames(base) : nil)
        scales = ScaleResolver(config: adapter.config, file: adapter.configPath)
    }

    /// By what name the adapter speaks of the head, where the architecture does not say.
    private static func headName(_ adapter: Adapter, _ traits: BaseTraits) -> String? {
        guard traits.tie == nil else { return nil }
        let paths =
            adapter.modules.map(\.path) + adapter.replacements.map(\.module) + adapter.tokenRows.map(\.module)
            + adapter.changes.map(\.path)
        return paths.first(where: traits.isHead).map { $0 + ".weight" }
    }

    mutating func run() {
        guard adapter.config.isReadable else { return }
        problems += scales.problems
        if let method = traits.refusedQuantization {
            problems.append(
                Problem(
                    .incompatible, "quantized-base", file: base.path,
                    "is quantised with '\(method)', and a delta cannot be added to packed integers",
                    hint: "merge into the original 16-bit model, then quantise the result again"))
            return
        }
        for replacement in adapter.replacements { place(replacement) }
        let isApart = headIsApart
        let tiedHead = sharedHead.map { TiedHead(shared: $0, adapter: adapter, isApart: isApart) }
        attempt { (resolver) throws(Problem) in try tiedHead?.spreadReplacement(&resolver) }
        for rows in adapter.tokenRows { place(rows) }
        for change in adapter.changes { place(change) }
        for addition in adapter.additions { place(addition) }
        findParameters()
        var experts: [String: [AdapterModule]] = [:]
        for module in adapter.modules {
            if targetedParameters[module.path] != nil {
                experts[module.path, default: []].append(module)
            } else {
                place(module)
            }
        }
        for (path, modules) in experts.sorted(by: { $0.key < $1.key }) { placeParameters(path, modules) }
        decideSquares()
        problems += ConfigChecks(self).problems()
        attempt { (resolver) throws(Problem) in try tiedHead?.settle(&resolver) }
        checkVocabulary()
        warnOfUnknownTie()
    }

    /// Whether the checkpoint stores head and embedding with different values, so that they are not one, whatever the
    /// config says.
    private var headIsApart: Bool {
        mutating get {
            guard let shared = sharedHead, shared.isStored, touches(shared) else { return false }
            guard let a = base.lookup(shared.embedding.name), let b = base.lookup(shared.head.name) else { return true }
            guard a.info.dtype.kernel != nil, b.info.dtype.kernel != nil else { return true }
            var isEqual = false
            consulted.formUnion([a.info.name, b.info.name])
            attempt { (resolver) throws(Problem) in
                isEqual = try TensorValues.equal(
                    resolver.base.shards[a.shard].file, a.info, resolver.base.shards[b.shard].file, b.info)
            }
            return !isEqual
        }
    }

    /// Whether the adapter may change embedding or head: only then they are worth reading.
    private func touches(_ shared: SharedHead) -> Bool {
        let paths =
            adapter.modules.map(\.path) + adapter.replacements.map(\.module) + adapter.tokenRows.map(\.module)
        return paths.contains(where: traits.hasVocabulary)
    }

    /// Without a config it is not known whether a head that is not stored shares the embedding.
    private mutating func warnOfUnknownTie() {
        guard base.config == nil else { return }
        let names = base.tensors.map(\.info.name)
        let path = { (name: String) in String(name.dropLast(".weight".utf8.count)) }
        let hasHead = names.contains { $0.hasSuffix(".weight") && traits.isHead(path($0)) }
        let embedding = updates.values.first { $0.name.hasSuffix(".weight") && traits.hasVocabulary(path($0.name)) }
        guard !hasHead, let embedding, let tensor = embedding.terms.first?.left.tensor ?? embedding.replacement else {
            return
        }
        error(
            "unknown-tie", tensor,
            "changes '\(embedding.name)', which a head that is not stored may share; without config.json beside the base that "
                + "is not known, and only the embedding is changed",
            hint: "name the model's directory as BASE, with its config.json", severity: .warning)
    }

    private mutating func findParameters() {
        for path in Set(adapter.modules.map(\.path)) {
            let found = parameters(of: path)
            if !found.isEmpty { targetedParameters[path] = found }
        }
    }

    private mutating func attempt(_ body: (inout Resolver) throws(Problem) -> Void) {
        do throws(Problem) {
            try body(&self)
        } catch {
            problems.append(error)
        }
    }

    // MARK: Reports

    mutating func error(
        _ code: String, _ tensor: TensorInfo, _ message: String, hint: String? = nil,
        severity: Problem.Severity = .error
    ) {
        problems.append(
            Problem(
                severity, .incompatible, code, file: adapter.file.path, tensor: tensor.name, message, hint: hint))
    }

    /// Says that no tensor of the base goes by this name.
    mutating func absent(_ tensor: TensorInfo, _ wanted: String) {
        let named = adapter.config.baseModel.map { " (the adapter's config names '\($0)')" } ?? ""
        error(
            "unmatched-module", tensor, "has no counterpart '\(wanted)' in the base '\(base.path)'",
            hint: "is this the base that the adapter was trained on\(named)? adapter-inspect lists the names of both")
    }

    mutating func ambiguous(_ tensor: TensorInfo, _ candidates: [TensorInfo]) {
        let list = candidates.prefix(4).map { "'\($0.name)'" }.joined(separator: ", ")
        error(
            "ambiguous-module", tensor, "could belong to \(candidates.count) tensors of the base: \(list)",
            hint: "rename the adapter's tensors to the base's names")
    }

    mutating func note(_ adapterName: String, _ baseName: String) {
        // Flattened names never are the base's.
        if adapter.naming == .dotted, adapterName != baseName, !baseName.hasSuffix(".in_proj_weight") {
            renamed.append((adapterName, baseName))
        }
    }

    /// The update of a base tensor, begun if there is none.
    mutating func update(_ weight: TensorInfo, _ change: (inout TensorUpdate) -> Void) {
        var entry = updates[weight.name] ?? TensorUpdate(of: weight, source: names.source(of: weight))
        change(&entry)
        updates[weight.name] = entry
    }

    // MARK: Low-rank pairs

    private mutating func place(_ module: AdapterModule) {
        let rank = scales.rank(of: module.patternPath)
        guard module.depth == 0 else {
            return error(
                "foreign-tensor", module.down,
                "stands under 'base_layer', but the config names no target_parameters for it")
        }
        checkRank(module, expected: rank)
        let fits = { (weight: TensorInfo) in
            let fit = ModuleFit(module, shape: self.shapeAfterReplacement(weight), rank: rank)
            return fit != nil && (fit != .columnsAreOutputs || self.traits.mayUseConv1D)
        }
        var answer = names.find(module.path + ".weight", fits: fits)
        if case .absent = answer {
            // torch's MultiheadAttention keeps q, k and v in one parameter of its own.
            answer = names.find(module.path + ".in_proj_weight", fits: fits)
        }
        switch answer {
        case .found(let weight):
            note(module.path + ".weight", weight.name)
            claim(module, weight, rank: rank)
        case .wrongShape(let candidates):
            if candidates.count > 1 { return ambiguous(module.down, candidates) }
            let found = FitExplanation.explain(
                module, base: candidates[0], rank: rank, baseModel: adapter.config.baseModel)
            error("shape-mismatch", found.tensor, found.message, hint: found.hint)
        case .ambiguous(let candidates): ambiguous(module.down, candidates)
        case .absent: placeParts(module)
        }
    }

    /// An embedding whose vocabulary the adapter changes is measured by its new shape.
    private func shapeAfterReplacement(_ weight: TensorInfo) -> [Int] { updates[weight.name]?.shape ?? weight.shape }

    mutating func placeAbsent(_ module: AdapterModule) {
        if let shared = sharedHead, shared.isSharedFurther, traits.hasVocabulary(module.path) {
            return error(
                "shared-embedding", module.down, SharedHead.refusal(shared.embedding.name), hint: SharedHead.refusalHint
            )
        }
        let packed = ["qweight", "weight_packed", "SCB", "W_q", "scales"].first {
            base.lookup(module.path + "." + $0) != nil
        }
        if let packed {
            return error(
                "quantized-base", module.down,
                "belongs to a module whose weight is quantised ('\(module.path).\(packed)')",
                hint: "merge into the original 16-bit model, then quantise the result again")
        }
        absent(module.down, module.path + ".weight")
    }

    mutating func checkRank(_ module: AdapterModule, expected: Int) {
        guard module.down.shape.count >= 2, module.up.shape.count >= 2 else { return }
        let (a, b) = (module.down.shape[0], module.up.shape[1])
        // Factors that lie the wrong way round are reported as such.
        if module.down.shape.count == 2, module.down.shape[1] == expected, module.up.shape[0] == expected { return }
        // A rank that makes no sense was reported once, and need not be for each module.
        guard a == b, a != expected, !adapter.config.problems.contains(where: { $0.code == "bad-config" }) else {
            return
        }
        error(
            "rank-mismatch", module.down,
            "shape \(module.down.shape) has rank \(a), but the config says rank \(expected)",
            hint: "correct 'r' or 'rank_pattern' in \(adapter.configPath): the scale alpha/rank depends on it")
    }

    private mutating func claim(_ module: AdapterModule, _ weight: TensorInfo, rank: Int) {
        if let owner = owners[weight.name] {
            return error(
                "ambiguous-module", module.down, "goes to '\(weight.name)', which '\(owner)' changes already",
                hint: "rename the adapter's tensors to the base's names")
        }
        owners[weight.name] = module.path
        guard weight.dtype.kernel != nil else {
            return error(
                "quantized-base", module.down, "belongs to '\(weight.name)', which is \(weight.dtype.rawValue)",
                hint: "merge into the original 16-bit model, then quantise the result again")
        }
        let shape = shapeAfterReplacement(weight)
        if module.repetitions > 1 {
            error(
                "applied-twice", module.up,
                "counts twice: PEFT adds the delta of this projection two times, in training too",
                severity: .note)
        }
        switch ModuleFit(module, shape: shape, rank: rank) {
        case .groups:
            error(
                "grouped-convolution", module.up, "belongs to a convolution with groups, for which no merge is defined",
                hint: "serve it as an adapter")
        case .square where !module.isEmbedding: undecided.append((module, weight))
        case .rowsAreOutputs where module.down.shape.count == 2:
            orientationVotes.rows += 1
            add(module, weight, .rowsAreOutputs)
        case .columnsAreOutputs:
            orientationVotes.columns += 1
            add(module, weight, .columnsAreOutputs)
        case let fit?: add(module, weight, fit)
        case nil: break
        }
    }

    /// Square weights do not show which way they lie: the architecture does, or their neighbours, or at last the flag.
    private mutating func decideSquares() {
        guard !undecided.isEmpty else { return }
        // Of transformers' models only some have Conv1D, and of everything else torch's own modules are linear layers.
        let isOpen =
            traits.mayUseConv1D && !traits.usesConv1D && orientationVotes.columns == orientationVotes.rows
        let votes = isOpen ? OrientationVotes(base: base) : nil
        for (module, weight) in undecided {
            let columns: Bool
            if traits.usesConv1D {
                columns = !traits.isHead(module.path)
            } else if orientationVotes.columns != orientationVotes.rows {
                columns = orientationVotes.columns > orientationVotes.rows
            } else {
                columns = isOpen && (votes?.around(weight.name) ?? adapter.config.fanInFanOut)
            }
            add(module, weight, columns ? .columnsAreOutputs : .rowsAreOutputs)
        }
    }

    mutating func add(_ module: AdapterModule, _ weight: TensorInfo, _ fit: ModuleFit) {
        let term = makeTerm(module, shape: shapeAfterReplacement(weight), fit: fit)
        if let magnitude = module.magnitude {
            let outputs = term.magnitude?.isPerRow == true ? term.view.rows : term.view.columns
            guard magnitude.elementCount == outputs else {
                return error(
                    "shape-mismatch", magnitude,
                    "shape \(magnitude.shape) has \(magnitude.elementCount) magnitudes, but '\(weight.name)' "
                        + "\(weight.shape) has \(outputs) outputs", hint: "the adapter was trained on a different base")
            }
        }
        update(weight) { $0.terms.append(term) }
        addBias(module, weight)
    }

    func makeTerm(_ module: AdapterModule, shape: [Int], fit: ModuleFit) -> LowRankTerm {
        let rank = module.down.shape[0]
        let (view, left, right) = FactorBuilder.build(module, fit: fit, shape: shape, rank: rank)
        let alpha = scales.alpha(of: module.patternPath)
        let isPerRow = isPerRow(module.magnitude, shape, fit)
        // PEFT takes the scale from the rank in the config; checkRank has seen to it that they agree.
        return LowRankTerm(
            module: module.path, left: left, right: right, rank: rank, alpha: alpha,
            scale: Double(module.repetitions)
                * adapter.config.scale(
                    rank: scales.rank(of: module.patternPath), alpha: alpha),
            view: view,
            magnitude: module.magnitude.map {
                Magnitude(tensor: $0, isPerRow: isPerRow, epsilon: adapter.dialect == .kohya ? LyCORISKinds.epsilon : 0)
            })
    }

    /// Where the outputs of a magnitude lie; LyCORIS's shape says it, (out, 1...) or (1, in...).
    private func isPerRow(_ magnitude: TensorInfo?, _ shape: [Int], _ fit: ModuleFit) -> Bool {
        // mlx-lm's DoRA of an embedding has one magnitude for each word, PEFT's one for each dimension.
        if adapter.dialect == .mlx { return fit != .columnsAreOutputs }
        if adapter.dialect == .kohya, let own = magnitude?.shape, own.count > 1, own[0] == 1, shape.first != 1,
            own[1] == shape[1]
        {
            return false
        }
        return fit != .columnsAreOutputs && fit != .embedding
    }

    private mutating func addBias(_ module: AdapterModule, _ weight: TensorInfo) {
        guard let bias = module.upBias else { return }
        let name = weight.name.hasSuffix(".weight") ? String(weight.name.dropLast(6)) + "bias" : weight.name
        guard let target = names.exact(name) else {
            // PEFT gives every adapted layer such a bias, also where combining adapters left it zero.
            if bias.dtype.kernel != nil, (try? TensorValues.isZero(adapter.file, bias)) == true { return }
            return error(
                "no-bias", bias, "adds to a bias, but the base has no '\(name)'",
                hint: "a bias cannot be added to this architecture: train with lora_bias=False")
        }
        guard target.shape == bias.shape else {
            return error(
                "shape-mismatch", bias, "shape \(bias.shape) does not fit '\(name)' \(target.shape)",
                hint: "the adapter was trained on a different base")
        }
        let scale = adapter.config.scale(
            rank: scales.rank(of: module.patternPath), alpha: scales.alpha(of: module.patternPath))
        update(target) { $0.addition = (bias, scale) }
    }
}
