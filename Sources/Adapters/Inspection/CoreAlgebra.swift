/// A Gram matrix G taken apart as Cᵀ·C, as far as its rank goes.
struct PivotedCholesky {
    /// C: (rank × size), row-major.
    private(set) var core: [Double] = []
    /// The columns that were chosen, in order.
    private(set) var pivots: [Int] = []
    /// Columns of G.
    let size: Int

    /// The rank that was found.
    var rank: Int { pivots.count }

    /// What is left of a column is dropped below this part of its squared length.
    ///
    /// Squares keep half the digits: further down there is only noise.
    private static let tolerance = 1e-10

    /// Decomposes `gram` (size × size); columns are weighed by their own length, so that small ones count.
    init(_ gram: [Double], size: Int) {
        self.size = size
        let lengths = (0..<size).map { gram[$0 * size + $0] }
        var left = lengths
        while rank < size {
            var best = -1
            var bestPart = Self.tolerance
            for at in 0..<size where lengths[at] > 0 && left[at] / lengths[at] > bestPart {
                best = at
                bestPart = left[at] / lengths[at]
            }
            guard best >= 0 else { return }
            let root = left[best].squareRoot()
            var row = [Double](repeating: 0, count: size)
            for j in 0..<size where j == best || !pivots.contains(j) {
                var value = gram[best * size + j]
                for k in 0..<rank { value -= core[k * size + best] * core[k * size + j] }
                row[j] = value / root
            }
            row[best] = root
            pivots.append(best)
            core += row
            for j in 0..<size { left[j] -= row[j] * row[j] }
            left[best] = 0
        }
    }

    /// T (size × rank) such that the columns of B·T are orthonormal, for G = Bᵀ·B: the inverse of C's pivot columns.
    var orthonormalizer: [Double] {
        var result = [Double](repeating: 0, count: size * rank)
        for column in 0..<rank {
            // Back substitution in the upper triangle of the pivot columns.
            var solution = [Double](repeating: 0, count: rank)
            for i in stride(from: column, through: 0, by: -1) {
                var value = i == column ? 1.0 : 0
                for j in (i + 1)..<max(i + 1, column + 1) { value -= core[i * size + pivots[j]] * solution[j] }
                solution[i] = value / core[i * size + pivots[i]]
            }
            for i in 0...column { result[pivots[i] * rank + column] = solution[i] }
        }
        return result
    }
}

/// The largest eigenvalue of a symmetric matrix.
enum SymmetricEigenvalue {
    /// Householder's reduction to three diagonals, then bisection by counting sign changes.
    static func largest(_ matrix: [Double], size: Int) -> Double {
        guard size > 0 else { return 0 }
        let (diagonal, beside) = tridiagonal(matrix, size)
        var low = diagonal.max() ?? 0
        var high = low
        for at in 0..<size {
            let reach = (at > 0 ? abs(beside[at - 1]) : 0) + (at + 1 < size ? abs(beside[at]) : 0)
            high = max(high, diagonal[at] + reach)
        }
        guard high.isFinite, low.isFinite else { return .nan }
        while true {
            let middle = low + (high - low) / 2
            guard middle > low, middle < high else { return high }
            if exceeds(middle, diagonal, beside) { low = middle } else { high = middle }
        }
    }

    /// Whether any eigenvalue is above `bound`.
    private static func exceeds(_ bound: Double, _ diagonal: [Double], _ beside: [Double]) -> Bool {
        var pivot = bound - diagonal[0]
        if pivot < 0 { return true }
        for at in 1..<max(1, diagonal.count) {
            let square = beside[at - 1] * beside[at - 1]
            if pivot == 0 { return square > 0 || bound < diagonal[at] }
            pivot = bound - diagonal[at] - square / pivot
            if pivot < 0 { return true }
        }
        return false
    }

    private static func tridiagonal(_ matrix: [Double], _ size: Int) -> (diagonal: [Double], beside: [Double]) {
        var a = matrix
        var vector = [Double](repeating: 0, count: size)
        var image = [Double](repeating: 0, count: size)
        var beside: [Double] = []
        for step in 0..<max(0, size - 1) {
            var norm2 = 0.0
            for i in (step + 1)..<size { norm2 += a[i * size + step] * a[i * size + step] }
            let norm = norm2.squareRoot()
            let first = a[(step + 1) * size + step]
            let reflected = first > 0 ? -norm : norm
            beside.append(reflected)
            guard norm > 0, norm2 > first * first else {
                beside[step] = first
                continue
            }
            for i in (step + 1)..<size { vector[i] = a[i * size + step] }
            vector[step + 1] -= reflected
            let half = norm2 - first * reflected
            // A := H·A·H for H = 1 - v·vᵀ/half, as a symmetric update of rank two.
            var overlap = 0.0
            for i in (step + 1)..<size {
                var sum = 0.0
                for j in (step + 1)..<size { sum += a[i * size + j] * vector[j] }
                image[i] = sum / half
                overlap += image[i] * vector[i]
            }
            for i in (step + 1)..<size { image[i] -= overlap / (2 * half) * vector[i] }
            for i in (step + 1)..<size {
                let (v, w) = (vector[i], image[i])
                for j in (step + 1)..<size { a[i * size + j] -= v * image[j] + w * vector[j] }
            }
        }
        return ((0..<size).map { a[$0 * size + $0] }, beside)
    }
}
