import Adapters
import Problems
import Safetensors
import Tensors

/// What a conversion will write, from headers and configs, but for what has to be approximated.
public final class ConvertPlan {
    /// What was asked for.
    public let request: ConvertRequest
    /// The adapter.
    public let adapter: Adapter
    /// The pairs of factors, in the order of their paths.
    private(set) var modules: [ConvertedModule] = []
    /// What the user should know.
    public private(set) var remarks: [Problem] = []
    /// What the target cannot say and was left out, since loss is allowed.
    public private(set) var dropped: [ConvertLoss.Item] = []
    /// Deltas of other kinds that became pairs of factors.
    public private(set) var outcomes: [ModuleOutcome] = []
    let base: Checkpoint?
    let target: any ConvertTarget
    /// The names in the base of what each path of the adapter changes.
    private(set) var baseNames: [String: [String]] = [:]
    /// What the adapter does to the base, if that is known.
    private(set) var updates: [TensorUpdate] = []

    /// Opens adapter and base; all problems together end it.
    public init(_ request: ConvertRequest) throws {
        self.request = request
        target = try Self.target(request.target)
        let opened = try Adapter(path: request.path)
        let base = try request.base.map { (path) throws(Problem) in try Checkpoint.openModel(path: path) }
        adapter = try base.map { (base) throws(Problem) in try opened.localized(for: base) } ?? opened
        self.base = base
        if opened.dialect == .gguf, base == nil {
            throw Problem(
                .incompatible, "needs-base", file: opened.file.path,
                "is GGUF, whose names and order of rows only the base tells",
                hint: "name the model that it was trained on with --base")
        }
        try check()
        try collect()
    }

    private static func target(_ dialect: Dialect) throws(Problem) -> any ConvertTarget {
        switch dialect {
        case .peft: PEFTTarget()
        case .kohya: KohyaTarget()
        case .diffusers: DiffusersTarget()
        case .mlx: MLXTarget()
        case .gguf: GGUFTarget()
        case .adapters:
            throw Problem(.usage, "bad-target", "adapters of the dialect \(dialect.rawValue) are not written here")
        }
    }

    /// Names of the base's components, if it is a pipeline.
    var baseComponents: Set<String> { base.map { $0.isPipeline ? Set($0.components.map(\.name)) : [] } ?? [] }

    /// The names in the base of what a module changes.
    func names(of module: ConvertedModule) -> [String] { baseNames[module.sourcePath] ?? [] }

    /// The task of the base's model class.
    var taskType: String? { base.flatMap { ModelNaming(BaseTraits($0)).taskType } }

    // MARK: Checks

    private func check() throws {
        let facts = AdapterFacts(adapter)
        var problems = facts.standaloneProblems(allowed: request.allowed)
        if let base {
            problems += base.problems
            let resolution = Resolution(adapter: adapter, base: base)
            problems += resolution.problems.map { $0.lowered(ifIn: request.allowed) }.filter { $0.severity == .error }
            updates = resolution.updates
            for update in resolution.updates {
                for term in update.terms { baseNames[term.module, default: []].append(update.name) }
                for change in update.changes { baseNames[change.path, default: []].append(update.name) }
                for entry in adapter.additions where entry.tensor == update.addition?.tensor && entry.parameter == "weight" {
                    baseNames[entry.module, default: []].append(update.name)
                }
            }
        }
        if ProblemList(problems).hasErrors { throw ProblemList(Self.unique(problems)) }
        remarks = problems.filter { $0.severity != .note }
        if adapter.modules.isEmpty, adapter.changes.isEmpty, adapter.additions.isEmpty, request.target != .peft {
            throw Problem(
                .incompatible, "nothing-to-convert", file: adapter.file.path,
                "has no pairs of factors, which is all that the dialect \(target.name) can hold")
        }
    }

    private static func unique(_ problems: [Problem]) -> [Problem] {
        var seen: Set<String> = []
        return problems.filter { seen.insert("\($0.severity) \($0.code) \($0.tensor ?? "") \($0.message)").inserted }
    }

    private func collect() throws {
        var obstacles: [(problem: Problem, part: ConvertLoss.Part)] = []
        for facts in AdapterFacts(adapter).modules {
            var module = ConvertedModule(facts)
            let missing = features(of: module).subtracting(target.features)
            for feature in missing.sorted(by: { $0.words < $1.words }) {
                obstacles.append((refusal(feature, facts.path, facts.module.down), .of(feature, facts)))
            }
            if !missing.isDisjoint(with: [.dora, .doraEmbedding]) { module.magnitude = nil }
            if missing.contains(.upBias) { module.upBias = nil }
            if missing.isSubset(of: [.dora, .doraEmbedding, .upBias]) { modules += try named(module) }
        }
        obstacles += try others()
        for change in adapter.changes + differences {
            if case .delta(let delta, _) = change.effect {
                let module = try approximation(change, sized(delta, change))
                if let feature = features(of: module).subtracting(target.features).first {
                    obstacles.append((refusal(feature, change.path, change.tensors.first), .change(change)))
                } else {
                    modules += try named(module)
                }
            } else {
                obstacles.append(
                    (refusal(.action, change.path, change.tensors.first, method: change.method), .change(change)))
            }
        }
        try select()
        if obstacles.isEmpty { return }
        guard request.allowsLoss else { throw ProblemList(obstacles.map(\.problem)) }
        dropped = try ConvertLoss(self).measure(obstacles)
        remarks += dropped.map { item in
            Problem(
                .warning, .incompatible, "dropped", file: adapter.file.path, tensor: item.tensor,
                "\(item.what) for '\(item.path)' is left out: \(ConvertLoss.words(item.relative)) of what the adapter changes there"
            )
        }
    }

    /// Of a pipeline's adapter, the one component that was asked for.
    private func select() throws(Problem) {
        guard let wanted = request.component else { return }
        let others = Set(modules.compactMap(\.component)).subtracting([wanted]).sorted()
        if others.isEmpty { return }
        modules.removeAll { $0.component != wanted }
        guard !modules.isEmpty else {
            throw Problem(
                .incompatible, "no-component", file: adapter.file.path,
                "adapts nothing of '\(wanted)', only of " + others.map { "'\($0)'" }.joined(separator: ", "))
        }
        remarks.append(
            Problem(
                .note, .incompatible, "component", file: adapter.file.path,
                "only '\(wanted)' is converted, as --component says; the adapter also changes "
                    + others.map { "'\($0)'" }.joined(separator: ", ")))
    }

    /// One component, where the target has room for no more.
    func requireOneComponent() throws(Problem) {
        let found = Set(modules.map { $0.component ?? "a model" }).sorted()
        guard found.count > 1 else { return }
        throw Problem(
            .incompatible, "several-components", file: adapter.file.path,
            "adapts " + found.map { "'\($0)'" }.joined(separator: " and ")
                + ", and \(target.name) adapters are for one model",
            hint: "take one of them with --component, or convert to diffusers, which holds all in one file")
    }

    private func features(of module: ConvertedModule) -> Set<ConvertFeature> {
        var result: Set<ConvertFeature> = []
        switch module.kind {
        case .embedding: result.insert(.embedding)
        case .convolution: result.insert(.convolution)
        case .experts, .parameter: result.insert(.experts)
        case .linear: break
        }
        if module.magnitude != nil {
            // mlx-lm's embeddings have a magnitude for each word, PEFT's one for each dimension.
            let isOther = (adapter.dialect == .mlx) != (request.target == .mlx)
            result.insert(module.kind == .embedding && isOther ? .doraEmbedding : .dora)
        }
        if module.upBias != nil { result.insert(.upBias) }
        if (module.source?.module.repetitions ?? 1) > 1 { result.insert(.twiceApplied) }
        return result
    }

    /// Differences of full size, as deltas that can be approximated.
    private var differences: [ModuleChange] {
        adapter.additions.filter { $0.tensor.shape.count > 1 && $0.parameter == "weight" }.map { entry in
            var change = ModuleChange(
                path: entry.module, method: "full difference", tensors: [entry.tensor],
                effect: .delta(FullDifference(entry.tensor), scale: entry.scale))
            change.weightShape = entry.tensor.shape
            return change
        }
    }

    /// What an adapter has besides pairs of factors.
    private func others() throws -> [(problem: Problem, part: ConvertLoss.Part)] {
        var result: [(problem: Problem, part: ConvertLoss.Part)] = []
        if !target.features.contains(.replacement) {
            for entry in try adapter.replacements.filter({ try !isCopy($0) }) {
                let path = "\(entry.module).\(entry.parameter)"
                result.append((refusal(.replacement, path, entry.tensor), .replacement(entry)))
            }
        }
        if !target.features.contains(.tokenRows) {
            for rows in adapter.tokenRows {
                result.append((refusal(.tokenRows, rows.module, rows.tensor), .rows(rows)))
            }
        }
        for entry in adapter.additions where entry.tensor.shape.count < 2 || entry.parameter != "weight" {
            result.append((refusal(.addition, "\(entry.module).\(entry.parameter)", entry.tensor), .addition(entry)))
        }
        return result
    }

    /// Whether a replacement is a copy of the base, as PEFT saves it beside adapted embeddings.
    private func isCopy(_ replacement: Replacement) throws(Problem) -> Bool {
        let name = "\(replacement.module).\(replacement.parameter)"
        guard let base, let place = base.lookup(name), place.info.shape == replacement.tensor.shape else {
            return false
        }
        return try TensorValues.equal(
            adapter.file, replacement.tensor, base.shards[place.shard].file, place.info, roundingTo: place.info.dtype)
    }

    private func refusal(
        _ feature: ConvertFeature, _ path: String, _ tensor: TensorInfo?, method: String? = nil
    ) -> Problem {
        let what = method.map { "\($0), \(feature.words)," } ?? feature.words
        return Problem(
            .incompatible, "not-expressible", file: adapter.file.path, tensor: tensor?.name,
            "is \(what) for '\(path)', which \(target.name) adapters cannot hold",
            hint: "merge it into its base with adapter-merge, or say --allow-lossy to leave it out")
    }

    // MARK: Other deltas

    /// The delta in the size of its weight: VeRA's modules share factors, and take the first rows and columns of them.
    private func sized(_ delta: any RowDelta, _ change: ModuleChange) throws(Problem) -> any RowDelta {
        if let name = baseNames[change.path]?.first, let info = base?.lookup(name)?.info {
            return delta.fitted(to: info.shape) ?? delta
        }
        guard change.method == "VeRA" else { return delta }
        throw Problem(
            .incompatible, "needs-base", file: adapter.file.path, tensor: change.tensors.first?.name,
            "is VeRA for '\(change.path)', and only the base says how many inputs that has",
            hint: "say --base BASE")
    }

    /// A delta as a product of factors: of its full rank, or of as much as is asked for.
    private func approximation(_ change: ModuleChange, _ delta: any RowDelta) throws -> ConvertedModule {
        let file = adapter.file
        let read: ValueReader = { (info) throws(Problem) in try TensorValues.doubles(file.read(info), info.dtype) }
        let (rows, columns) = delta.shape
        if request.truncation == Truncation(), let exact = try delta.factors(read) {
            return try exactPair(change, delta, exact)
        }
        let loaded = try delta.load(read)
        // Without a wish, everything that float32 can tell.
        let truncation = request.truncation == Truncation() ? Truncation(ratio: 1e8) : request.truncation
        var iteration = SubspaceIteration(
            DeltaRows(loaded, rows: rows, columns: columns),
            random: NumberedRandom(seed: 0, "convert", change.path))
        var found = try iteration.approximation(truncation)
        guard found.squaredNorm.isFinite else {
            throw Problem(
                .incompatible, "non-finite", file: file.path, tensor: change.tensors.first?.name,
                "gives a delta with values that are NaN or infinite")
        }
        let dtype = request.dtype ?? .f32
        found.factors = try found.factors.rounded(to: dtype, module: change.path)
        let error2 = try iteration.error(of: found.factors).squared
        let norm2 = found.squaredNorm
        let kept = found.values.prefix(found.factors.rank).reduce(0) { $0 + $1 * $1 }
        let outcome = ModuleOutcome(
            path: change.path, stackedRank: min(rows, columns), rank: found.factors.rank, norm: norm2.squareRoot(),
            relativeError: norm2 > 0 ? (error2 / norm2).squareRoot() : 0,
            retainedEnergy: norm2 > 0 ? min(1, kept / norm2) : 1,
            largestError: found.largestDropped, isExact: error2 <= 1e-12 * norm2, partsNorm: 0)
        outcomes.append(outcome)
        if !outcome.isExact, !request.allowsLoss {
            throw Problem(
                .incompatible, "lossy", file: file.path, tensor: change.tensors.first?.name,
                "is \(change.method) for '\(change.path)', which no pair of rank \(outcome.rank) equals: the relative error is "
                    + "\(outcome.relativeError)",
                hint: "--rank N keeps more, and --allow-lossy accepts the error, which is reported")
        }
        return ConvertedModule(change, found.factors, shape: weightShape(change, delta), dtype: dtype)
    }

    /// Factors that give the delta exactly, each with half of its size.
    private func exactPair(
        _ change: ModuleChange, _ delta: any RowDelta, _ exact: DeltaFactors
    ) throws -> ConvertedModule {
        let (rows, columns) = delta.shape
        let dtype = request.dtype ?? .f32
        let product = LowRank(
            left: Vectors(exact.left, count: rows, length: exact.rank).transposed,
            right: Vectors(exact.right, count: exact.rank, length: columns))
        let stored = try product.rounded(to: dtype, module: change.path)
        let sum = LowRankSum(product, weights: [Double](repeating: 1, count: exact.rank))
        let (norm2, error2) = (sum.squaredNorm, sum.squaredError(of: stored))
        outcomes.append(
            ModuleOutcome(
                path: change.path, stackedRank: exact.rank, rank: exact.rank, norm: norm2.squareRoot(),
                relativeError: norm2 > 0 ? (error2 / norm2).squareRoot() : 0, retainedEnergy: 1, largestError: 0,
                isExact: true, partsNorm: 0))
        return ConvertedModule(change, stored, shape: weightShape(change, delta), dtype: dtype)
    }

    /// The shape of the weight, which for a convolution only the base knows.
    private func weightShape(_ change: ModuleChange, _ delta: any RowDelta) -> [Int] {
        if let name = baseNames[change.path]?.first, let info = base?.lookup(name)?.info { return info.shape }
        return change.weightShape ?? [delta.shape.rows, delta.shape.columns]
    }

    /// Names, scales and bytes of what is written.
    func files() throws -> ConvertedFiles { try target.files(self) }
}

/// The rows of a delta, for decompositions.
private struct DeltaRows: RowBlocks {
    let rows: Int
    let columns: Int
    private let delta: any LoadedDelta

    init(_ delta: any LoadedDelta, rows: Int, columns: Int) {
        self.delta = delta
        self.rows = rows
        self.columns = columns
    }

    mutating func read(_ range: Range<Int>, to target: inout [Double]) throws {
        var block = [Double](repeating: 0, count: range.count * columns)
        delta.add(range, times: 1, to: &block)
        target.replaceSubrange(0..<block.count, with: block)
    }
}
