/// A sum of products Σ_k w_k·l_k·r_kᵀ seen through orthonormal bases of its columns and rows: exact, and never dense.
///
/// With L = Q·R and R = P·S for the stacked factors, the sum is Q·(R·w·Sᵀ)·Pᵀ, and its singular values are those of the small
/// core in the middle.
struct LowRankSum {
    private let columns: Orthogonal
    private let rows: Orthogonal
    private let core: Vectors
    private let decomposition: SingularValues

    /// The singular values of the sum, descending.
    var values: [Double] { decomposition.values }
    /// ‖D‖².
    var squaredNorm: Double { core.squaredNorm }

    /// Takes Σ_k weights[k]·left_kᵀ·right_k apart.
    init(_ product: LowRank, weights: [Double]) {
        precondition(weights.count == product.rank, "a weight for each pair is needed")
        // The largest first: what the small ones add is then not lost in them.
        let sizes = (0..<product.rank).map { index in
            abs(weights[index]) * product.left.dot(index, index).squareRoot()
                * product.right.dot(index, index).squareRoot()
        }
        let order = (0..<product.rank).sorted { (sizes[$0], $1) > (sizes[$1], $0) }
        columns = Orthogonal(product.left.selecting(order))
        rows = Orthogonal(product.right.selecting(order))
        var weighted = columns.triangle
        for i in 0..<weighted.count {
            for j in 0..<weighted.length { weighted[i, j] *= weights[order[j]] }
        }
        core = Strided.product(Strided(weighted), Strided(rows.triangle).transposed)
        decomposition = SingularValues(core)
    }

    /// The best approximation of rank `rank`.
    func truncated(to rank: Int) -> Approximation {
        let kept = min(rank, values.count { $0 > 0 })
        let left = Strided.product(Strided(decomposition.left).prefix(kept), Strided(columns.basis))
        let right = Strided.product(Strided(decomposition.right).prefix(kept), Strided(rows.basis))
        return Approximation(
            factors: LowRank(values.prefix(kept), left: left, right: right), values: values, squaredNorm: squaredNorm)
    }

    /// ‖D − leftᵀ·right‖² for factors as they were stored.
    ///
    /// Each factor is split into what lies in the basis and what rounding added at right angles to it; the four products of
    /// these are at right angles to each other, so nothing cancels.
    func squaredError(of stored: LowRank) -> Double {
        let (x, aside) = Self.split(stored.left, columns.basis)
        let (y, beside) = Self.split(stored.right, rows.basis)
        var difference = core
        var negative = x
        for at in negative.values.indices { negative.values[at].negate() }
        Strided.addProduct(Strided(negative).transposed, Strided(y), to: &difference.values)
        return difference.squaredNorm + LowRank(left: x, right: beside).squaredNorm
            + LowRank(left: aside, right: y).squaredNorm + LowRank(left: aside, right: beside).squaredNorm
    }

    private static func split(_ vectors: Vectors, _ basis: Vectors) -> (inside: Vectors, outside: Vectors) {
        var inside = Strided.product(Strided(vectors), Strided(basis).transposed)
        var outside = vectors
        for at in inside.values.indices { inside.values[at].negate() }
        Strided.addProduct(Strided(inside), Strided(basis), to: &outside.values)
        for at in inside.values.indices { inside.values[at].negate() }
        return (inside, outside)
    }
}
