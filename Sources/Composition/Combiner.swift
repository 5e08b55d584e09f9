import Adapters
import Files
import Problems
import Safetensors
import StrictJSON
import Synchronization
import Tensors

/// What a combination gave.
public struct CombineResult: Sendable {
    /// One for each module, in the order of their names.
    public let modules: [ModuleOutcome]
    /// The rank that `r` says.
    public let rank: Int
    /// What PEFT multiplies B·A by.
    public let scale: Double
    /// The dtype of the factors.
    public let dtype: DType
    /// Bytes of the tensor file.
    public let bytes: Int
    /// The adapter's parameters.
    public let parameters: Int
    /// What the user should know.
    public let remarks: [Problem]
}

/// Carries out a plan.
public struct Combiner: Sendable {
    private let plan: CombinePlan
    private let threads: Int
    private let progress: @Sendable (Int) -> Void

    /// The work in units of bytes of factors that are gone through.
    public static func totalWork(of plan: CombinePlan) -> Int {
        let isTwice = plan.request.method.isSum && !plan.request.truncation.isFixed
        return plan.modules.reduce(0) { $0 + Self.work(of: $1) } * (isTwice ? 2 : 1)
    }

    private static func work(of module: CombineModule) -> Int {
        module.parts.reduce(0) { $0 + $1.facts.module.down.byteCount + $1.facts.module.up.byteCount }
    }

    /// Prepares to carry out `plan`; `progress` is told of finished work, from any thread.
    public init(_ plan: CombinePlan, threads: Int, progress: @escaping @Sendable (Int) -> Void) {
        self.plan = plan
        self.threads = threads
        self.progress = progress
    }

    /// Computes everything and writes the files of `output`, without committing it.
    public func run(to output: StagedOutput) throws -> CombineResult {
        let needed = try neededRanks()
        let result = ResultRanks(plan, needed: needed)
        let layout = try ResultLayout(plan, result, metadata: metadata())
        let file = try output.create(
            "adapter_model.safetensors", size: layout.header.dataStart + layout.header.dataLength)
        try file.write(layout.header.encoded(), at: 0)
        let outcomes = Mutex([ModuleOutcome?](repeating: nil, count: plan.modules.count))
        try forEachModule { at, module in
            let source = module.twin.map { plan.modules[$0] } ?? module
            let job = ModuleJob(plan: plan, module: source, scale: result.scale, dtype: result.dtype)
            var matrices = try job.run(rank: result.ranks[at]) {}
            if module.twin != nil {
                for at in matrices.indices { matrices[at].stored = matrices[at].stored.transposed }
            }
            try layout.write(matrices, of: at, to: file)
            let outcome = Self.outcome(module, matrices)
            outcomes.withLock { $0[at] = outcome }
        }
        try layout.writeCarried(to: file)
        try file.finish()
        try output.write("adapter_config.json", plan.config(result))
        let all = outcomes.withLock { $0.compactMap { $0 } }
        return CombineResult(
            modules: all, rank: Tally(result.ranks).entries.first?.value ?? 0, scale: result.scale,
            dtype: result.dtype, bytes: file.size,
            parameters: layout.header.tensors.reduce(0) { $0 + $1.elementCount },
            remarks: try plan.remarks + cancellation(all))
    }

    /// Deltas that cancel but for rounding, and results that are zero.
    private func cancellation(_ outcomes: [ModuleOutcome]) throws -> [Problem] {
        let gone = outcomes.filter { $0.norm <= FunctionComparison.tolerance * $0.partsNorm && $0.partsNorm > 0 }
        let zero = outcomes.count { $0.norm == 0 && $0.partsNorm == 0 }
        guard gone.count + zero == outcomes.count, plan.hasModules else {
            guard let first = gone.first else { return [] }
            return [
                Problem(
                    .warning, .incompatible, "cancelled", tensor: first.path,
                    "cancels but for rounding" + (gone.count > 1 ? ", and so do \(gone.count - 1) other modules" : ""))
            ]
        }
        // Nothing cancels where nothing was.
        if gone.isEmpty, !plan.hasCancelled {
            return [
                Problem(
                    .warning, .incompatible, "zero-delta", file: plan.inputs[0].path,
                    "the result is zero in all \(outcomes.count) modules",
                    hint: "untrained adapters look like this, and so does a density that keeps nothing")
            ]
        }
        // What is known before anything is computed has been said already.
        guard !plan.cancelsByFactors else { return [] }
        var plan = plan
        try plan.addZero(
            zero == 0
                ? "the deltas cancel but for rounding in all \(gone.count) modules, though the factors differ"
                : "the adapters cancel, or their deltas are zero: the result is zero in all \(outcomes.count) modules, "
                    + "but for rounding")
        return Array(plan.remarks.suffix(1))
    }

    private static func outcome(_ module: CombineModule, _ matrices: [ModuleJob.Matrix]) -> ModuleOutcome {
        let sum = { (value: (ModuleJob.Matrix) -> Double) in matrices.reduce(0) { $0 + max(0, value($1)) } }
        let (norm2, error2) = (sum(\.norm2), sum(\.error2))
        return ModuleOutcome(
            path: module.path, stackedRank: module.stackedRank, rank: matrices.map(\.stored.rank).max() ?? 0,
            norm: norm2.squareRoot() * module.repetitions,
            relativeError: !norm2.isFinite ? .nan : norm2 > 0 ? (error2 / norm2).squareRoot() : error2 > 0 ? 1 : 0,
            retainedEnergy: !norm2.isFinite ? .nan : norm2 > 0 ? min(1, sum(\.kept2) / norm2) : 1,
            largestError: (matrices.map(\.largestDropped).max() ?? 0) * module.repetitions,
            isExact: matrices.allSatisfy(\.isExact),
            partsNorm: matrices.reduce(0) { $0 + $1.partsNorm } * module.repetitions)
    }

    /// Spectra first, where the rank depends on them.
    private func neededRanks() throws -> [Int]? {
        guard plan.request.method.isSum, !plan.request.truncation.isFixed else { return nil }
        let ranks = Mutex([Int](repeating: 0, count: plan.modules.count))
        try forEachModule { at, module in
            let rank = try ModuleJob(plan: plan, module: module, scale: 1, dtype: .f64).neededRank()
            ranks.withLock { $0[at] = rank }
        }
        return ranks.withLock { $0 }
    }

    /// Calls `body` for each module, from as many threads as there are.
    private func forEachModule(_ body: @escaping @Sendable (Int, CombineModule) throws -> Void) throws {
        let (modules, progress) = (plan.modules, progress)
        try forEach(modules.count, threads: threads) { at in
            try body(at, modules[at])
            progress(Self.work(of: modules[at]))
        }
    }

    /// Where the result came from; specified in `formats/combined-adapter.md`.
    private func metadata() throws -> [(key: String, value: String)] {
        let request = plan.request
        var recipe = JSONObject([("method", .string(request.method.rawValue))])
        let number = { (value: Double?) in value.map(ResultConfig.number) }
        recipe["rank"] = number(request.truncation.rank.map(Double.init))
        recipe["energy"] = number(request.truncation.energy)
        recipe["ratio"] = number(request.truncation.ratio)
        if request.method.isSparse {
            recipe["on"] = .string(request.domain.rawValue)
            recipe["density"] = number(request.density)
            recipe["seed"] = .number(JSONNumber(text: String(request.seed)))
            recipe["sign"] = .string(request.election.rawValue)
        }
        var entries: [JSONValue] = []
        for input in plan.inputs {
            entries.append(Origin.entry(path: input.path, digest: try input.original.digest(), weight: input.weight))
        }
        var result = [
            ("format", "pt"), ("adapterkit.adapters", JSONValue.array(entries).encoded()),
            ("adapterkit.method", JSONValue.object(recipe).encoded()), ("adapterkit.version", request.version),
        ]
        if let base = plan.inputs.lazy.compactMap({ CombineInputs.metadata($0.adapter, "adapterkit.base") }).first {
            result.append(("adapterkit.base", base))
        }
        return result.map { (key: $0.0, value: $0.1) }
    }
}
