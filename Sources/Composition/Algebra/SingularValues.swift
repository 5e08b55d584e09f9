/// A small dense matrix G (rows × columns) taken apart: G = Σ_k σ_k·u_k·v_kᵀ, σ descending.
///
/// One-sided Jacobi rotations on the triangle of an orthogonalisation (Drmač and Veselić, 2008): slower than the LAPACK routines,
/// but with a fixed order of operations, and right to many digits for small singular values of graded matrices too.
struct SingularValues {
    /// The singular values, descending.
    private(set) var values: [Double]
    /// u_k: as many as there are values, of `rows` elements each.
    private(set) var left: Vectors
    /// v_k, of `columns` elements each.
    private(set) var right: Vectors

    private static let sweeps = 60

    /// Decomposes the matrix whose rows are `matrix`.
    init(_ matrix: Vectors) {
        let (rows, columns) = (matrix.count, matrix.length)
        // Columns by descending norm; powers of two keep squares in range.
        var vectors = matrix.transposed
        let largest = vectors.values.reduce(0) { max($0, abs($1)) }
        let unit = largest > 0 && largest.isFinite ? Double(sign: .plus, exponent: largest.exponent, significand: 1) : 1
        for at in vectors.values.indices { vectors.values[at] /= unit }
        let norms = (0..<columns).map { vectors.dot($0, $0) }
        let order = (0..<columns).sorted { (norms[$0], $1) > (norms[$1], $0) }
        let parts = Orthogonal(vectors.selecting(order))
        // G·P = Q·R: rotations J make the rows of R orthogonal, so R = Jᵀ·Σ·Wᵀ.
        var (triangle, turns) = Self.leading(parts)
        Self.rotate(&triangle, &turns)
        let lengths = (0..<triangle.count).map { triangle.dot($0, $0).squareRoot() }
        let sorted = (0..<triangle.count).sorted { (lengths[$0], $1) > (lengths[$1], $0) }
        values = sorted.map { lengths[$0] * unit }
        left = Strided.product(Strided(turns.selecting(sorted)), Strided(parts.basis))
        var scattered = Vectors(count: sorted.count, length: columns)
        for (index, from) in sorted.enumerated() where lengths[from] > 0 {
            for at in 0..<columns { scattered[index, order[at]] = triangle[from, at] / lengths[from] }
        }
        right = scattered
        precondition(left.length == rows)
    }

    /// The rows of R up to its rank, and as many unit vectors.
    private static func leading(_ parts: Orthogonal) -> (triangle: Vectors, turns: Vectors) {
        let kept = (0..<parts.triangle.count).filter { parts.triangle[$0, $0] != 0 }
        var turns = Vectors(count: kept.count, length: parts.triangle.count)
        for (index, at) in kept.enumerated() { turns[index, at] = 1 }
        return (parts.triangle.selecting(kept), turns)
    }

    /// Turns pairs of rows until all are orthogonal, and `turns` with them.
    static func rotate(_ rows: inout Vectors, _ turns: inout Vectors, tolerance: Double? = nil) {
        let count = rows.count
        let tolerance = tolerance ?? Double.ulpOfOne * Double(count).squareRoot()
        for _ in 0..<sweeps {
            var squares = (0..<count).map { rows.dot($0, $0) }
            var isDone = true
            forEachPair(count, block: max(4, blockElements / max(1, rows.length))) { i, j in
                // Zero rows, and those so small that their squares vanish, are orthogonal to all.
                guard squares[i] > 0, squares[j] > 0 else { return }
                let overlap = rows.dot(i, j)
                guard abs(overlap) > tolerance * squares[i].squareRoot() * squares[j].squareRoot() else { return }
                isDone = false
                let turn = Rotation(squares[i], squares[j], overlap)
                rows.rotate(i, j, cosine: turn.cosine, sine: turn.sine)
                turns.rotate(i, j, cosine: turn.cosine, sine: turn.sine)
                squares[i] -= turn.tangent * overlap
                squares[j] += turn.tangent * overlap
                if !(squares[i] > 0) { squares[i] = rows.dot(i, i) }
            }
            if isDone { return }
        }
    }

    /// Two blocks of rows that are turned against each other stay in the second-level cache.
    private static let blockElements = 1 << 14

    /// Calls `body` with every pair i < j once, block by block.
    private static func forEachPair(_ count: Int, block: Int, _ body: (Int, Int) -> Void) {
        for top in stride(from: 0, to: count, by: block) {
            for left in stride(from: top, to: count, by: block) {
                for i in top..<min(count, top + block) {
                    for j in max(left, i + 1)..<max(left, i + 1, min(count, left + block)) { body(i, j) }
                }
            }
        }
    }

    /// The rotation that makes two vectors orthogonal, from their squared norms and inner product.
    private struct Rotation {
        let cosine: Double
        let sine: Double
        let tangent: Double

        init(_ a: Double, _ b: Double, _ overlap: Double) {
            let half = (b - a) / (2 * overlap)
            let root = abs(half) > 1e150 ? abs(half) : (1 + half * half).squareRoot()
            tangent = (half < 0 ? -1 : 1) / (abs(half) + root)
            cosine = 1 / (1 + tangent * tangent).squareRoot()
            sine = tangent * cosine
        }
    }
}
