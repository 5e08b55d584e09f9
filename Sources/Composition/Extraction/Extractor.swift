import Adapters
import Files
import Problems
import Safetensors
import StrictJSON
import Synchronization
import Tensors

/// What an extraction gave.
public struct ExtractResult: Sendable {
    /// One for each low-rank module, in natural order of their names.
    public let modules: [ModuleOutcome]
    /// Names of tensors that are saved whole.
    public let whole: [String]
    /// Names of tensors that differ and are left out.
    public let leftOut: [String]
    /// Tensors that are the same in both checkpoints.
    public let unchanged: Int
    /// The rank that `r` says.
    public let rank: Int
    /// Bytes of the tensor file.
    public let bytes: Int
    /// The adapter's parameters.
    public let parameters: Int
    /// What the user should know.
    public let remarks: [Problem]
}

/// Makes an adapter of what differs between two checkpoints.
public struct Extractor: Sendable {
    private let request: ExtractRequest
    private let pair: CheckpointPair
    private let threads: Int

    /// Opens both checkpoints and checks that they belong together.
    public init(_ request: ExtractRequest, threads: Int) throws {
        try request.check()
        self.request = request
        self.threads = threads
        pair = try CheckpointPair(request)
    }

    /// Bytes that comparing the checkpoints reads.
    public var comparedBytes: Int { pair.byteCount }

    /// Compares the checkpoints and sorts what differs.
    public func plan(progress: @escaping @Sendable (Int) -> Void) throws -> ExtractWork {
        let changes = try pair.changes(threads: threads, progress: progress)
        var planner = ExtractPlanner(pair, request)
        let plan = try planner.run(changes)
        guard !plan.modules.isEmpty || !plan.whole.isEmpty else {
            let isSame = plan.leftOut.isEmpty
            throw Problem(
                .incompatible, "no-difference", file: pair.tuned.path,
                isSame
                    ? "is the same model as '\(pair.base.path)' in every tensor, so there is nothing to extract"
                    : "differs from '\(pair.base.path)' only in what --no-full leaves out, so there is nothing to extract",
                hint: isSame ? "is it the right checkpoint?" : "leave --no-full out")
        }
        return ExtractWork(request: request, pair: pair, plan: plan, threads: threads)
    }
}

/// The second half of an extraction: what is to be done is known.
public struct ExtractWork: Sendable {
    let request: ExtractRequest
    let pair: CheckpointPair
    let plan: ExtractPlan
    let threads: Int

    /// The work in bytes of weights.
    public var totalWork: Int {
        plan.modules.reduce(0) { $0 + $1.byteCount } * (request.truncation.isFixed ? 1 : 2)
    }

    /// Computes everything and writes the files of `output`, without committing it.
    public func run(to output: StagedOutput, progress: @escaping @Sendable (Int) -> Void) throws -> ExtractResult {
        let (ranks, kept) = try ranks(progress)
        let header = try Header.layout(tensors(ranks), metadata: metadata(), order: .reference)
        let places = Dictionary(header.tensors.map { ($0.name, $0) }) { own, _ in own }
        let file = try output.create("adapter_model.safetensors", size: header.dataStart + header.dataLength)
        try file.write(header.encoded(), at: 0)
        let put = { @Sendable (name: String, bytes: [UInt8]) throws in
            guard let place = places[name], place.byteCount == bytes.count else {
                throw Problem(.internalFault, "no-place", tensor: name, "has no place in the result")
            }
            try file.write(bytes, at: header.dataStart + place.begin)
        }
        let outcomes = Mutex([ModuleOutcome?](repeating: nil, count: plan.modules.count))
        try forEach(plan.modules.count, threads: threads) { at in
            let job = ExtractJob(module: plan.modules[at], request: request)
            let computed = try kept[at] ?? job.run()
            let (down, up) = try job.encoded(computed, rank: ranks[at])
            try put(names(plan.modules[at]).down, down)
            try put(names(plan.modules[at]).up, up)
            outcomes.withLock { $0[at] = computed.outcome }
            progress(plan.modules[at].byteCount)
        }
        for whole in plan.whole {
            try requireFinite(whole)
            guard let place = places[AdapterNames.saved(whole.name)] else { continue }
            for start in stride(from: 0, to: whole.tensor.byteCount, by: 1 << 20) {
                try checkInterrupted()
                let range = start..<min(whole.tensor.byteCount, start + (1 << 20))
                try file.write(whole.file.read(whole.tensor, bytes: range), at: header.dataStart + place.begin + start)
            }
        }
        try file.finish()
        try output.write("adapter_config.json", config(ranks))
        return ExtractResult(
            modules: outcomes.withLock { $0.compactMap { $0 } }, whole: plan.whole.map(\.name),
            leftOut: plan.leftOut, unchanged: plan.unchanged, rank: Tally(ranks).entries.first?.value ?? 0,
            bytes: file.size, parameters: header.tensors.reduce(0) { $0 + $1.elementCount }, remarks: plan.remarks)
    }

    /// Bytes of factors that are kept from the round that decides ranks; the others are computed twice.
    private static let keptBytes = 128 << 20

    /// The rank of each module's tensors, and what was computed already to find it.
    private func ranks(
        _ progress: @escaping @Sendable (Int) -> Void
    ) throws -> (ranks: [Int], kept: [ExtractJob.Computed?]) {
        var ranks = plan.modules.map { min($0.fullRank, request.truncation.rank ?? .max) }
        let found = Mutex((ranks: ranks, kept: [ExtractJob.Computed?](repeating: nil, count: ranks.count), bytes: 0))
        if !request.truncation.isFixed {
            try forEach(plan.modules.count, threads: threads) { at in
                let computed = try ExtractJob(module: plan.modules[at], request: request).run()
                found.withLock {
                    $0.ranks[at] = max(1, computed.rank)
                    guard $0.bytes + computed.byteCount <= Self.keptBytes else { return }
                    $0.bytes += computed.byteCount
                    $0.kept[at] = computed
                }
                progress(plan.modules[at].byteCount)
            }
            ranks = found.withLock { $0.ranks }
        }
        if !request.isPerModule, let all = ranks.max() { ranks = ranks.map { _ in all } }
        return (ranks, found.withLock { $0.kept })
    }

    private func requireFinite(_ whole: WholeTensor) throws {
        guard whole.tensor.dtype.kernel != nil else { return }
        let count = try TensorValues.scan(whole.file, whole.tensor).nonFinite
        guard count > 0 else { return }
        throw Problem(
            .incompatible, "non-finite", file: whole.file.path, tensor: whole.tensor.name,
            "has \(count) values that are NaN or infinite", hint: "training diverged, or the file is damaged")
    }

    private func names(_ module: ExtractModule) -> (down: String, up: String) {
        let stem = AdapterNames.stem(path: module.module, depth: module.depth)
        return (stem + ".lora_A.weight", stem + ".lora_B.weight")
    }

    private func tensors(_ ranks: [Int]) -> [(name: String, dtype: DType, shape: [Int])] {
        var list: [(name: String, dtype: DType, shape: [Int])] = []
        for (module, rank) in zip(plan.modules, ranks) {
            let all = rank * module.batches
            let inner =
                module.kernel.isEmpty ? [module.inputs] : [module.inputs / module.kernel.reduce(1, *)] + module.kernel
            list.append((names(module).down, request.dtype, [all] + inner))
            list.append((names(module).up, request.dtype, [module.outputs, all] + module.kernel.map { _ in 1 }))
        }
        for whole in plan.whole {
            list.append((AdapterNames.saved(whole.name), whole.tensor.dtype, whole.tensor.shape))
        }
        return list
    }

    /// Where the result came from; specified in `formats/combined-adapter.md`.
    private func metadata() -> [(key: String, value: String)] {
        var recipe = JSONObject([("method", .string("extract"))])
        recipe["rank"] = request.truncation.rank.map { ResultConfig.number(Double($0)) }
        recipe["energy"] = request.truncation.energy.map(ResultConfig.number)
        recipe["ratio"] = request.truncation.ratio.map(ResultConfig.number)
        recipe["seed"] = .number(JSONNumber(text: String(request.seed)))
        recipe["tuned"] = .string(request.tunedName ?? Origin.name(of: request.tuned))
        return [
            ("adapterkit.base", Origin.identity(of: pair.base)),
            ("adapterkit.method", JSONValue.object(recipe).encoded()), ("adapterkit.version", request.version),
            ("format", "pt"),
        ].map { (key: $0.0, value: $0.1) }
    }

    // MARK: Config

    private func config(_ ranks: [Int]) -> [UInt8] {
        var config = ResultConfig()
        let naming = ModelNaming(BaseTraits(pair.base))
        config["base_model_name_or_path"] = .string(
            request.baseName ?? BaseTraits(pair.base).name.flatMap { $0.isEmpty ? nil : $0 }
                ?? Origin.name(of: request.base))
        if let task = naming.taskType, ModelNaming(BaseTraits(pair.tuned)).taskType == task {
            config["task_type"] = .string(task)
        }
        config["fan_in_fan_out"] = .bool(plan.modules.contains(where: \.isTransposed) && naming.usesConv1D)
        if ranks.isEmpty {
            config["r"] = ResultConfig.number(1)
            config["lora_alpha"] = ResultConfig.number(1)
        } else {
            config.setRanks(zip(plan.modules, ranks).map { ($0.patternPath, $1) }, scale: 1)
        }
        let targets = ExtractTargets(plan, pair.base, naming)
        config["target_modules"] = targets.modules
        if !targets.excluded.isEmpty { config["exclude_modules"] = ResultConfig.texts(targets.excluded) }
        if !plan.parameters.isEmpty { config["target_parameters"] = ResultConfig.texts(plan.parameters) }
        if !plan.saved.isEmpty { config["modules_to_save"] = ResultConfig.texts(plan.saved) }
        config["bias"] = .string(plan.bias)
        if plan.tiesWeights { config["ensure_weight_tying"] = .bool(true) }
        return config.bytes
    }
}
