import Adapters
import Problems
import Safetensors
import Tensors

/// What became of one module.
public struct ModuleOutcome: Sendable {
    /// The module's path.
    public let path: String
    /// All ranks of the parts together.
    public let stackedRank: Int
    /// The rank of the result, without padding.
    public let rank: Int
    /// ‖D‖ of the delta that was aimed at, Frobenius.
    public let norm: Double
    /// ‖D − result‖ / ‖D‖ for the factors as they are stored; 0 for a delta that is zero and stored so.
    public let relativeError: Double
    /// The part of ‖D‖² that the kept singular values make up.
    public let retainedEnergy: Double
    /// The largest singular value that was dropped.
    public let largestError: Double
    /// Whether nothing was dropped.
    public let isExact: Bool
    /// ‖D_i‖ of all parts together, with their weights: much more than `norm` where they cancel.
    let partsNorm: Double
}

/// The computation of one module: reads its factors, combines them, rounds them, and measures what that cost.
struct ModuleJob {
    let plan: CombinePlan
    let module: CombineModule
    /// What the result's factors are multiplied by when they are used.
    let scale: Double
    let dtype: DType

    private var request: CombineRequest { plan.request }

    /// One matrix of the result.
    struct Matrix {
        var stored: LowRank
        var norm2 = 0.0
        var error2 = 0.0
        var kept2 = 0.0
        var largestDropped = 0.0
        var isExact = false
        var partsNorm = 0.0
    }

    // MARK: Reading

    /// The factors of all parts of one matrix, scales not applied.
    private func factors(_ readers: [LowRankReader], _ batch: Int) -> [LowRank] { readers.map { $0.factors(batch) } }

    private func readers() throws -> [LowRankReader] {
        try module.parts.map { part in try LowRankReader(part.facts, in: plan.inputs[part.input].adapter.file) }
    }

    private static func stacked(_ parts: [LowRank], rows: Int, columns: Int) -> LowRank {
        var result = LowRank(rows: rows, columns: columns)
        for part in parts {
            result.left.append(part.left)
            result.right.append(part.right)
        }
        return result
    }

    /// The coefficient of each pair of vectors.
    private var coefficients: [Double] {
        module.parts.flatMap { [Double](repeating: $0.weight * $0.scale, count: $0.facts.rank) }
    }

    // MARK: Spectra

    /// The rank that the truncation asks for, over all matrices of the module.
    func neededRank() throws -> Int {
        guard request.method.isSum, !request.truncation.isFixed else { return 0 }
        let readers = try readers()
        var result = 0
        for batch in 0..<module.batches where !module.parts.isEmpty {
            let sum = LowRankSum(
                Self.stacked(factors(readers, batch), rows: module.rows, columns: module.columns),
                weights: coefficients)
            result = max(result, request.truncation.count(of: sum.values))
        }
        return result
    }

    // MARK: Results

    /// Computes all matrices at `rank`.
    func run(rank: Int, progress: () -> Void) throws -> [Matrix] {
        let readers = try readers()
        return try (0..<module.batches).map { batch in
            let parts = factors(readers, batch)
            try checkFinite(parts)
            if parts.isEmpty {
                return Matrix(stored: LowRank(rows: module.rows, columns: module.columns), isExact: true)
            }
            if let sparse = request.method.sparse {
                return try request.domain == .factors
                    ? onFactors(parts, sparse) : onDeltas(parts, sparse, batch, rank: rank, progress)
            }
            if request.method == .factorLinear { return try onFactors(parts, nil) }
            let all = Self.stacked(parts, rows: module.rows, columns: module.columns)
            return all.rank <= rank ? try concatenated(all, parts) : try truncated(all, parts, rank)
        }.map(checkUnderflow)
    }

    /// A delta of which the dtype leaves nothing must not pass for one.
    private func checkUnderflow(_ matrix: Matrix) throws -> Matrix {
        let isGone = { (vectors: Vectors) in vectors.values.allSatisfy { $0 == 0 } }
        if matrix.norm2 > 0, isGone(matrix.stored.left) || isGone(matrix.stored.right) {
            throw Problem(
                .incompatible, "underflow", tensor: module.path,
                "has values that are too small for \(dtype.rawValue): all of a factor becomes zero",
                hint: dtype == .f16 ? "say --dtype bfloat16 or float32" : "say --dtype float64")
        }
        return matrix
    }

    private func checkFinite(_ parts: [LowRank]) throws {
        for (part, factors) in zip(module.parts, parts) {
            guard !factors.left.isFinite || !factors.right.isFinite else { continue }
            let tensor = factors.left.isFinite ? part.facts.module.down : part.facts.module.up
            throw Problem(
                .incompatible, "non-finite", file: plan.inputs[part.input].adapter.file.path, tensor: tensor.name,
                "has values that are NaN or infinite, so it has no sum with anything",
                hint: "training diverged, or the file is damaged: take an earlier checkpoint")
        }
    }

    /// All ranks side by side; coefficients go into B.
    private func concatenated(_ all: LowRank, _ parts: [LowRank]) throws -> Matrix {
        var exact = all
        for (index, coefficient) in coefficients.enumerated() where coefficient != scale {
            exact.left.scale(index, by: coefficient / scale)
        }
        var matrix = Matrix(stored: try exact.rounded(to: dtype, module: module.path), isExact: true)
        matrix.norm2 = exact.squaredNorm * scale * scale
        matrix.partsNorm = partsNorm(parts)
        matrix.kept2 = matrix.norm2
        matrix.error2 = Self.roundingError(exact, matrix.stored) * scale * scale
        return matrix
    }

    /// ‖Σ l_k·r_kᵀ − Σ l'_k·r'_kᵀ‖² of factors that differ by rounding: (l − l')·r + l'·(r − r'), without cancelling squares.
    private static func roundingError(_ exact: LowRank, _ stored: LowRank) -> Double {
        var (aside, beside) = (exact.left, exact.right)
        for at in aside.values.indices { aside.values[at] -= stored.left.values[at] }
        for at in beside.values.indices { beside.values[at] -= stored.right.values[at] }
        let isSame = (aside.values.allSatisfy { $0 == 0 }, beside.values.allSatisfy { $0 == 0 })
        switch isSame {
        case (true, true): return 0
        case (false, true): return LowRank(left: aside, right: exact.right).squaredNorm
        case (true, false): return LowRank(left: stored.left, right: beside).squaredNorm
        case (false, false):
            aside.append(stored.left)
            var right = exact.right
            right.append(beside)
            return max(0, LowRank(left: aside, right: right).squaredNorm)
        }
    }

    private func partsNorm(_ parts: [LowRank]) -> Double {
        guard parts.count > 1 else { return 0 }
        return zip(parts, module.parts).reduce(0) {
            $0 + max(0, $1.0.squaredNorm).squareRoot() * abs($1.1.weight * $1.1.scale)
        }
    }

    private func truncated(_ all: LowRank, _ parts: [LowRank], _ rank: Int) throws -> Matrix {
        let sum = LowRankSum(all, weights: coefficients.map { $0 / scale })
        var found = sum.truncated(to: min(rank, request.truncation.count(of: sum.values)))
        found.factors = try found.factors.rounded(to: dtype, module: module.path)
        var matrix = measured(found, error2: sum.squaredError(of: found.factors))
        matrix.partsNorm = partsNorm(parts)
        return matrix
    }

    private func measured(_ found: Approximation, error2: Double) -> Matrix {
        var matrix = Matrix(stored: found.factors)
        let unit = scale * scale
        matrix.norm2 = found.squaredNorm * unit
        matrix.error2 = error2 * unit
        matrix.kept2 = found.values.prefix(found.factors.rank).reduce(0) { $0 + $1 * $1 } * unit
        // Of a number of digits that is lost in rounding to float64.
        let noise = 1e-14 * (found.values.first ?? 0)
        matrix.largestDropped = found.largestDropped > noise ? found.largestDropped * abs(scale) : 0
        matrix.isExact = matrix.largestDropped == 0
        return matrix
    }

    private func onDeltas(
        _ parts: [LowRank], _ sparse: SparseMethod, _ batch: Int, rank: Int, _ progress: () -> Void
    ) throws -> Matrix {
        var scaled: [(factors: LowRank, weight: Double)] = []
        for (factors, part) in zip(parts, module.parts) {
            var own = factors
            for index in 0..<own.rank { own.right.scale(index, by: part.scale / scale) }
            scaled.append((own, part.weight))
        }
        let name = module.batches > 1 ? "\(module.path) \(batch)" : module.path
        let deltas = try SparseDeltas(scaled, sparse, request, name: name, inputs: module.parts.map(\.input))
        return try withoutActuallyEscaping(progress) { passed in
            var iteration = SubspaceIteration(
                deltas, random: NumberedRandom(seed: request.seed, "sketch", name), passed: passed)
            var truncation = request.truncation
            truncation.rank = min(rank, truncation.rank ?? rank)
            var found = try iteration.approximation(truncation)
            found.factors = try found.factors.rounded(to: dtype, module: module.path)
            return measured(found, error2: try iteration.error(of: found.factors).squared)
        }
    }

    /// PEFT's way: A and B each by themselves, with the roots of the coefficients.
    private func onFactors(_ parts: [LowRank], _ sparse: SparseMethod?) throws -> Matrix {
        let coefficients = module.parts.map { $0.weight * $0.scale / scale }
        let roots = coefficients.map { abs($0).squareRoot() }
        let signed = zip(coefficients, roots).map { $0 < 0 ? -$1 : $1 }
        // Sieves count places as the tensors lie in the file.
        let up = try combine(parts.map { $0.left.transposed }, roots, sparse, "B").transposed
        let down = try combine(parts.map(\.right), signed, sparse, "A")
        let exact = LowRank(left: up, right: down)
        var matrix = Matrix(stored: try exact.rounded(to: dtype, module: module.path))
        matrix.norm2 = max(0, exact.squaredNorm) * scale * scale
        matrix.kept2 = matrix.norm2
        matrix.error2 = Self.roundingError(exact, matrix.stored) * scale * scale
        matrix.isExact = true
        return matrix
    }

    private func combine(
        _ tensors: [Vectors], _ weights: [Double], _ sparse: SparseMethod?, _ side: String
    ) throws -> Vectors {
        let method = sparse ?? SparseMethod(isRandom: false, elects: false)
        var sifted: [[Double]] = []
        for (tensor, part) in zip(tensors, module.parts) {
            var values = tensor.values
            let density = sparse == nil ? 1 : request.density ?? 1
            var sieve = Sieve.all
            if method.isRandom, density < 1 {
                sieve = .random(
                    NumberedRandom(seed: request.seed, "dare", module.path, side, "\(part.input)"), density: density)
            } else if !method.isRandom {
                sieve = try Sieve.largest(density, of: values.count) { body in body(values, values.count, 0) }
            }
            sieve.apply(&values, count: values.count, start: 0)
            sifted.append(values)
        }
        let count = tensors[0].values.count
        var sum = [Double](repeating: 0, count: count)
        method.sum(sifted, weights: weights, election: request.election, count: count, to: &sum)
        return Vectors(sum, count: tensors[0].count, length: tensors[0].length)
    }
}

extension LowRank {
    /// The factors as `dtype` holds them.
    func rounded(to dtype: DType, module: String) throws(Problem) -> LowRank {
        var result = self
        result.left.values = try TensorValues.doubles(TensorValues.rounded(left.values, to: dtype), dtype)
        result.right.values = try TensorValues.doubles(TensorValues.rounded(right.values, to: dtype), dtype)
        guard result.left.isFinite, result.right.isFinite else {
            throw Problem(
                .incompatible, "overflow", tensor: module, "has values that are too large for \(dtype.rawValue)",
                hint: dtype == .f16 ? "say --dtype float32" : "say --dtype float64")
        }
        return result
    }
}

/// The factors of one module in one adapter.
struct LowRankReader {
    private let left: FactorReader
    private let right: FactorReader

    init(_ facts: ModuleFacts, in file: SafetensorsFile) throws {
        guard let factors = facts.factors,
            let left = try FactorReader(
                file, factors.left, length: factors.rows, rank: facts.rank, isTransposed: false),
            let right = try FactorReader(
                file, factors.right, length: factors.columns, rank: facts.rank, isTransposed: true)
        else {
            throw Problem(
                .internalFault, "no-delta", file: file.path, tensor: facts.module.down.name, "has no product")
        }
        self.left = left
        self.right = right
    }

    /// The factors of one matrix.
    func factors(_ batch: Int) -> LowRank {
        LowRank(
            left: Vectors(left.vectors(batch), count: left.rank, length: left.length),
            right: Vectors(right.vectors(batch), count: right.rank, length: right.length))
    }
}
