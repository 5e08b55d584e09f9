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
    public private(set) var dropped: [String] = []
    /// Deltas of other kinds that became pairs of factors.
    public private(set) var outcomes: [ModuleOutcome] = []
    let base: Checkpoint?
    private let target: any ConvertTarget
    private var baseNames: [String: [String]] = [:]

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
    private(set) lazy var baseComponents: Set<String> = {
        guard base?.config == nil else { return [] }
        let names = base?.tensors.compactMap { $0.info.name.split(separator: ".").first.map(String.init) } ?? []
        return Set(names).intersection(DialectFinder.components)
    }()

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
            for update in resolution.updates {
                for term in update.terms { baseNames[term.module, default: []].append(update.name) }
                for change in update.changes { baseNames[change.path, default: []].append(update.name) }
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
        var obstacles: [Problem] = []
        for facts in AdapterFacts(adapter).modules {
            var module = ConvertedModule(facts)
            let missing = features(of: module).subtracting(target.features)
            for feature in missing.sorted(by: { $0.words < $1.words }) {
                obstacles.append(refusal(feature, facts.path, facts.module.down))
            }
            if missing.contains(.dora) { module.magnitude = nil }
            if missing.contains(.upBias) { module.upBias = nil }
            if missing.isSubset(of: [.dora, .upBias]) { modules.append(try named(module)) }
        }
        obstacles += try others()
        for change in adapter.changes {
            if case .delta(let delta, _) = change.effect {
                modules.append(try named(approximation(change, delta)))
            } else {
                obstacles.append(refusal(.action, change.path, change.tensors.first, method: change.method))
            }
        }
        guard request.allowsLoss else {
            if !obstacles.isEmpty { throw ProblemList(obstacles) }
            return
        }
        dropped = obstacles.map(\.message)
        remarks += obstacles.map { problem in
            Problem(.warning, .incompatible, "dropped", file: problem.file, tensor: problem.tensor, "is left out: \(problem.message)")
        }
    }

    private func features(of module: ConvertedModule) -> Set<ConvertFeature> {
        var result: Set<ConvertFeature> = []
        switch module.kind {
        case .embedding: result.insert(.embedding)
        case .convolution: result.insert(.convolution)
        case .experts, .parameter: result.insert(.experts)
        case .linear: break
        }
        if module.magnitude != nil { result.insert(.dora) }
        if module.upBias != nil { result.insert(.upBias) }
        if (module.source?.module.repetitions ?? 1) > 1 { result.insert(.twiceApplied) }
        return result
    }

    /// What an adapter has besides pairs of factors.
    private func others() throws -> [Problem] {
        var result: [Problem] = []
        if !target.features.contains(.replacement) {
            result += try adapter.replacements.filter { try !isCopy($0) }.map { refusal(.replacement, "\($0.module).\($0.parameter)", $0.tensor) }
        }
        if !target.features.contains(.tokenRows) {
            result += adapter.tokenRows.map { refusal(.tokenRows, $0.module, $0.tensor) }
        }
        result += adapter.additions.filter { $0.tensor.shape.count < 2 }.map {
            refusal(.addition, "\($0.module).\($0.parameter)", $0.tensor)
        }
        return result
    }

    /// Whether a replacement is a copy of the base, as PEFT saves it beside adapted embeddings.
    private func isCopy(_ replacement: Replacement) throws(Problem) -> Bool {
        let name = "\(replacement.module).\(replacement.parameter)"
        guard let base, let place = base.lookup(name), place.info.shape == replacement.tensor.shape else { return false }
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

    // MARK: Names

    /// The module under the name that the model has for it.
    private func named(_ module: ConvertedModule) throws(Problem) -> ConvertedModule {
        var module = module
        if adapter.hasFlattenedNames {
            module.component = KohyaReader.component(of: module.path)
            module.path = try dotted(module.path)
        }
        let first = module.path.split(separator: ".").first.map(String.init) ?? ""
        // A language model may have a part that is called 'transformer', too.
        let isPipeline = adapter.dialect == .diffusers || baseComponents.contains(first)
        if isPipeline, DialectFinder.components.contains(first), module.path.count > first.count + 1 {
            module.component = first
            module.path = String(module.path.dropFirst(first.count + 1))
        } else {
            module.component = request.component ?? module.component ?? ownComponent
        }
        if let name = baseNames[module.sourcePath]?.first, let shape = base?.lookup(name)?.info.shape {
            module.fit(shape)
        }
        if request.target == .peft || request.target == .mlx { try requireOneComponent(module) }
        return module
    }

    private func dotted(_ path: String) throws(Problem) -> String {
        if let known = adapter.recordedModules[path] { return known }
        guard base != nil else {
            throw Problem(
                .incompatible, "needs-base", file: adapter.file.path,
                "names modules without dots, like '\(path)', which can be read in several ways",
                hint: "name the model that it was trained on with --base")
        }
        let found = baseNames[path] ?? []
        guard found.count == 1 else {
            throw Problem(
                .incompatible, "split-module", file: adapter.file.path,
                "'\(path)' is \(found.count) tensors of the base: \(found.prefix(4).joined(separator: ", "))",
                hint: "use a base in the layout that the adapter was trained on")
        }
        return ParameterName.module(of: found[0])
    }

    /// The component that a base of one component is.
    private var ownComponent: String? {
        let config = base?.config?.object
        if let name = config?["_class_name"]?.string {
            return name.contains("UNet") ? "unet" : name.contains("Transformer") ? "transformer" : nil
        }
        let architecture = config?["architectures"]?.array?.first?.string ?? ""
        return architecture.hasPrefix("CLIPTextModel") || architecture.hasPrefix("T5Encoder") ? "text_encoder" : nil
    }

    private func requireOneComponent(_ module: ConvertedModule) throws(Problem) {
        guard let other = modules.first, other.component != module.component else { return }
        throw Problem(
            .incompatible, "several-components", file: adapter.file.path,
            "adapts '\(other.component ?? "a model")' and '\(module.component ?? "a model")', and \(target.name) adapters are for one model",
            hint: "convert to diffusers instead, which holds all components in one file")
    }

    // MARK: Other deltas

    /// A delta as a product of factors: of its full rank, or of as much as is asked for.
    private func approximation(_ change: ModuleChange, _ delta: any RowDelta) throws -> ConvertedModule {
        let file = adapter.file
        let loaded = try delta.load { (info) throws(Problem) in try TensorValues.doubles(file.read(info), info.dtype) }
        let (rows, columns) = delta.shape
        var iteration = SubspaceIteration(
            DeltaRows(loaded, rows: rows, columns: columns),
            random: NumberedRandom(seed: 0, "convert", change.path))
        var found = try iteration.approximation(request.truncation)
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
            relativeError: norm2 > 0 ? (error2 / norm2).squareRoot() : 0, retainedEnergy: norm2 > 0 ? min(1, kept / norm2) : 1,
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
