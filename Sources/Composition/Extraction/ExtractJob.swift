import Adapters
import Problems
import Safetensors
import Tensors

/// The computation of one module of an extraction.
struct ExtractJob {
    let module: ExtractModule
    let request: ExtractRequest

    /// The factors of each matrix as they are stored, and what they cost.
    struct Computed: Sendable {
        let matrices: [LowRank]
        let outcome: ModuleOutcome

        var rank: Int { outcome.rank }
        /// Bytes that it takes in memory.
        var byteCount: Int { matrices.reduce(0) { $0 + 8 * ($1.left.values.count + $1.right.values.count) } }
    }

    /// Approximates all matrices.
    func run() throws -> Computed {
        var (norm2, error2, kept2, dropped) = (0.0, 0.0, 0.0, 0.0)
        var matrices: [LowRank] = []
        for batch in 0..<module.batches {
            var iteration = SubspaceIteration(
                DifferenceRows(module.pieces[batch], columns: module.columns),
                random: NumberedRandom(seed: request.seed, "extract", module.patternPath, "\(batch)"))
            var found = try iteration.approximation(request.truncation)
            guard found.squaredNorm.isFinite else { throw notFinite(batch) }
            found.factors = try found.factors.rounded(to: request.dtype, module: module.patternPath)
            norm2 += found.squaredNorm
            error2 += try iteration.error(of: found.factors).squared
            kept2 += found.values.prefix(found.factors.rank).reduce(0) { $0 + $1 * $1 }
            dropped = max(dropped, found.largestDropped)
            matrices.append(found.factors)
        }
        let rank = matrices.map(\.rank).max() ?? 0
        let outcome = ModuleOutcome(
            path: module.patternPath, stackedRank: module.fullRank, rank: rank, norm: norm2.squareRoot(),
            relativeError: norm2 > 0 ? (error2 / norm2).squareRoot() : 0,
            retainedEnergy: norm2 > 0 ? min(1, kept2 / norm2) : 1, largestError: dropped,
            isExact: rank == module.fullRank, partsNorm: 0)
        return Computed(matrices: matrices, outcome: outcome)
    }

    private func notFinite(_ batch: Int) -> Problem {
        let piece = module.pieces[batch][0]
        return Problem(
            .incompatible, "non-finite", file: piece.tuned.file.path, tensor: piece.tuned.tensor.name,
            "or the same tensor of the base has values that are NaN or infinite, so they have no difference",
            hint: "training diverged, or a file is damaged")
    }

    /// The bytes of A and B, padded with zeros to `rank`.
    func encoded(_ computed: Computed, rank: Int) throws -> (down: [UInt8], up: [UInt8]) {
        let width = rank * module.batches
        var down: [Double] = []
        down.reserveCapacity(width * module.inputs)
        var up = [Double](repeating: 0, count: module.outputs * width)
        for (batch, factors) in computed.matrices.enumerated() {
            let (a, b) = module.isTransposed ? (factors.left, factors.right) : (factors.right, factors.left)
            down += a.values + [Double](repeating: 0, count: (rank - a.count) * module.inputs)
            for k in 0..<b.count {
                let column = k * module.batches + batch
                for row in 0..<module.outputs { up[row * width + column] = b.values[k * module.outputs + row] }
            }
        }
        return (try TensorValues.rounded(down, to: request.dtype), try TensorValues.rounded(up, to: request.dtype))
    }
}
