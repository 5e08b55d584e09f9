import Files
import Problems
import Safetensors

/// A sum of products c·L·R of long thin factors, which is never formed: all is done with their Gram matrices.
///
/// A Gram matrix holds squares, so of a sum whose parts cancel only half the digits are left. Where that is not enough,
/// `refinedNorms` reads the factors a second time and subtracts before it squares.
struct LowRankSum {
    /// One product for each of `batches` experts.
    struct Part {
        var coefficient: Double
        /// (outputs × rank).
        let left: FactorReader
        /// (inputs × rank).
        let right: FactorReader

        /// Reads the factors of `facts`; `nil` if no product is defined.
        init?(_ facts: ModuleFacts, in file: SafetensorsFile) throws {
            guard let factors = facts.factors,
                let left = try FactorReader(
                    file, factors.left, length: factors.rows, rank: facts.rank, isTransposed: false),
                let right = try FactorReader(
                    file, factors.right, length: factors.columns, rank: facts.rank, isTransposed: true)
            else { return nil }
            coefficient = facts.scale
            self.left = left
            self.right = right
        }
    }

    let parts: [Part]
    let batches: Int
    /// The coefficient of each column of the stacked factors.
    private let weights: [Double]
    private let leftGrams: [[Double]]
    private let rightGrams: [[Double]]

    /// Columns of the stacked factors.
    var size: Int { weights.count }

    /// Rows of the long side that are handled at a time.
    private static let blockRows = 256

    /// Reads all factors once.
    init(_ parts: [Part], batches: Int) throws {
        self.parts = parts
        self.batches = batches
        weights = parts.flatMap { [Double](repeating: $0.coefficient, count: $0.left.rank) }
        leftGrams = try Self.grams(parts.map(\.left), batches, transform: nil)
        rightGrams = try Self.grams(parts.map(\.right), batches, transform: nil)
    }

    /// The Gram matrices of the stacked factors, one for each batch, after a multiplication from the right.
    private static func grams(
        _ factors: [FactorReader], _ batches: Int, transform: [[Double]]?
    ) throws -> [[Double]] {
        let size = factors.reduce(0) { $0 + $1.rank }
        let length = factors.first?.length ?? 0
        var results = [[Double]](repeating: [Double](repeating: 0, count: size * size), count: batches)
        var block = [Double](repeating: 0, count: min(blockRows, length) * size)
        for start in stride(from: 0, to: length, by: blockRows) {
            try checkInterrupted()
            let range = start..<min(length, start + blockRows)
            for batch in 0..<batches {
                var column = 0
                for factor in factors {
                    factor.copy(batch, range, to: &block, stride: size, column: column)
                    column += factor.rank
                }
                let moved = transform.map { Dense.product(block, $0[batch], range.count, size, size) } ?? block
                let gram = Dense.gram(moved, range.count, size)
                for at in gram.indices { results[batch][at] += gram[at] }
            }
        }
        return results
    }

    // MARK: Norms

    /// What the Gram matrices tell of the products' columns `a` on one side and `b` on the other: <D_a, D_b>.
    func inner(_ batch: Int, _ a: Range<Int>, _ b: Range<Int>) -> Double {
        let (l, r) = (leftGrams[batch], rightGrams[batch])
        var sum = 0.0
        for i in a {
            for j in b { sum += weights[i] * weights[j] * l[i * size + j] * r[i * size + j] }
        }
        return sum
    }

    /// The squared Frobenius norm of the whole sum, and whether at least six of its digits are right.
    func squaredNorm(_ batch: Int) -> (value: Double, isExact: Bool) {
        let value = inner(batch, 0..<size, 0..<size)
        let (l, r) = (leftGrams[batch], rightGrams[batch])
        var reach = 0.0
        for i in 0..<size { reach += (weights[i] * weights[i] * l[i * size + i] * r[i * size + i]).squareRoot() }
        let error = 1e-15 * reach * reach
        return (value, !value.isFinite || reach == 0 || value > 1e6 * error)
    }

    /// The largest singular value of the whole sum.
    func spectralNorm(_ batch: Int) -> Double {
        guard leftGrams[batch].allSatisfy(\.isFinite), rightGrams[batch].allSatisfy(\.isFinite) else { return .nan }
        let core = core(batch).matrix
        let (rows, columns) = (core.left.rank, core.right.rank)
        let square = Dense.gram(core.values, rows, columns)
        return max(0, SymmetricEigenvalue.largest(square, size: columns)).squareRoot()
    }

    private typealias Core = (values: [Double], left: PivotedCholesky, right: PivotedCholesky)

    /// C_L·w·C_Rᵀ: the sum as seen by orthonormal bases of its columns and rows.
    private func core(_ batch: Int) -> (matrix: Core, leftCore: [Double], rightCore: [Double]) {
        let left = PivotedCholesky(leftGrams[batch], size: size)
        let right = PivotedCholesky(rightGrams[batch], size: size)
        var weighted = left.core
        for at in weighted.indices { weighted[at] *= weights[at % size] }
        let values = Dense.product(
            weighted, Dense.transposed(right.core, right.rank, size), left.rank, size, right.rank)
        return ((values, left, right), left.core, right.core)
    }

    /// The squared Frobenius norms of the whole sum for each batch, right to about 1e-11 of the largest part.
    ///
    /// With L = Q·C + E and R = P·F + H (Q, P orthonormal, E and H what is left after subtracting), the sum is
    /// Q·(C·w·Fᵀ)·Pᵀ and three small terms at right angles to it. In the first one the parts cancel before squares are
    /// taken.
    func refinedSquaredNorms() throws -> [Double] {
        let cores = (0..<batches).map { core($0) }
        let left = try Self.grams(parts.map(\.left), batches, transform: cores.map { Self.residual($0.matrix.left) })
        let right = try Self.grams(parts.map(\.right), batches, transform: cores.map { Self.residual($0.matrix.right) })
        return (0..<batches).map { batch in
            let (matrix, c, f) = cores[batch]
            let leftSquare = Dense.gram(c, matrix.left.rank, size)
            let rightSquare = Dense.gram(f, matrix.right.rank, size)
            var sum = 0.0
            for i in 0..<size {
                for j in 0..<size {
                    let at = i * size + j
                    let (e, h) = (left[batch][at], right[batch][at])
                    let rest = e * (rightSquare[at] + h) + leftSquare[at] * h
                    sum += weights[i] * weights[j] * rest
                }
            }
            return matrix.values.reduce(max(0, sum)) { $0 + $1 * $1 }
        }
    }

    /// 1 - T·C: what turns B into B - Q·C.
    private static func residual(_ found: PivotedCholesky) -> [Double] {
        let size = found.size
        var result = Dense.product(found.orthonormalizer, found.core, size, found.rank, size).map { -$0 }
        for at in 0..<size { result[at * size + at] += 1 }
        return result
    }
}
