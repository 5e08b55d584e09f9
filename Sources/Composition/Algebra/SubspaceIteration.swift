/// The best approximation of low rank of a matrix that is read in blocks of rows.
///
/// Randomised subspace iteration (Halko, Martinsson and Tropp, 2011): a random sketch is multiplied by DᵀD, one pass over the
/// rows each time, until what it holds of the matrix no longer grows. Small matrices, and those whose rank comes near their
/// smaller side, are decomposed whole, the latter by their Gram matrix.
struct SubspaceIteration<Source: RowBlocks> {
    private var source: Source
    private let random: NumberedRandom
    /// Called after each pass.
    private let passed: () -> Void

    /// Sides up to this length are decomposed whole.
    private let smallSide = 256
    private let mostPasses = 24
    /// The sketch is good enough when a pass finds less than this part of what was still missing.
    private let tolerance = 1e-4

    init(_ source: Source, random: NumberedRandom, passed: @escaping () -> Void = {}) {
        self.source = source
        self.random = random
        self.passed = passed
    }

    /// The best approximation that `truncation` allows.
    mutating func approximation(_ truncation: Truncation) throws -> Approximation {
        let side = min(source.rows, source.columns)
        if side <= smallSide { return try whole(truncation) }
        let limit = truncation.rank ?? side
        var guess = truncation.isFixed ? limit : min(limit, 32)
        while true {
            let width = guess + max(16, guess / 4)
            if width * 3 > side {
                var gram = GramApproximation(source, passed: passed)
                return try gram.run(truncation)
            }
            let found = try sketch(width: width, kept: guess)
            let count = truncation.count(of: found.values, total: found.squaredNorm)
            // More than the sketch can tell means that a larger one is needed.
            if truncation.isFixed || count < guess || guess == limit {
                return found.truncated(to: min(count, guess))
            }
            guess = min(limit, max(guess * 2, Self.least(found.values, guess, truncation, found.squaredNorm)))
        }
    }

    /// The least rank that the energy can need, since no further value is larger than the last one found.
    private static func least(_ values: [Double], _ kept: Int, _ truncation: Truncation, _ total: Double) -> Int {
        guard let energy = truncation.energy, kept > 0, kept <= values.count, values[kept - 1] > 0 else { return 0 }
        let missing = energy * total - values.prefix(kept).reduce(0) { $0 + $1 * $1 }
        return kept + Int(min(1e9, max(0, missing) / (values[kept - 1] * values[kept - 1])))
    }

    /// Everything in memory: exact, for small matrices.
    private mutating func whole(_ truncation: Truncation) throws -> Approximation {
        let matrix = try source.whole()
        passed()
        let isTall = matrix.count >= matrix.length
        // The orthogonalisation works on the few long vectors.
        let parts = Orthogonal(isTall ? matrix.transposed : matrix)
        let core = SingularValues(parts.triangle)
        let count = truncation.count(of: core.values)
        let long = Strided.product(Strided(core.left).prefix(count), Strided(parts.basis))
        let short = core.right.selecting(Array(0..<count))
        let factors = LowRank(
            core.values.prefix(count), left: isTall ? long : short, right: isTall ? short : long)
        return Approximation(factors: factors, values: core.values, squaredNorm: matrix.squaredNorm)
    }

    /// ‖D − leftᵀ·right‖² and the largest |element| of the difference, for factors as they were stored.
    mutating func error(of stored: LowRank) throws -> (squared: Double, largest: Double) {
        defer { passed() }
        return try source.error(of: stored)
    }

    // MARK: Sketches

    private struct Sketch {
        let factors: LowRank
        let values: [Double]
        let squaredNorm: Double

        func truncated(to rank: Int) -> Approximation {
            let order = Array(0..<min(rank, factors.rank))
            return Approximation(
                factors: LowRank(left: factors.left.selecting(order), right: factors.right.selecting(order)),
                values: values, squaredNorm: squaredNorm)
        }
    }

    private mutating func sketch(width: Int, kept: Int) throws -> Sketch {
        var basis = Vectors(count: width, length: source.columns)
        for at in basis.values.indices { basis.values[at] = 2 * random.unit(at) - 1 }
        basis = Orthogonal(basis).basis
        var squaredNorm = 0.0
        var captured = -1.0
        for _ in 0..<mostPasses {
            let (image, square) = try turned(basis)
            squaredNorm = square
            // Ritz values of DᵀD in the sketch.
            let small = SingularValues(Strided.product(Strided(basis), Strided(image).transposed))
            let held = small.values.prefix(kept).reduce(0, +)
            let isDone = captured >= 0 && held - captured <= tolerance * max(0, square - held) + 1e-13 * square
            captured = held
            basis = Orthogonal(image).basis
            if isDone || square == 0 { break }
        }
        return try projected(onto: basis, squaredNorm: squaredNorm)
    }

    /// DᵀD times each vector, and ‖D‖².
    private mutating func turned(_ basis: Vectors) throws -> (image: Vectors, squaredNorm: Double) {
        let tall = basis.transposed
        let columns = source.columns
        var image = Vectors(count: columns, length: basis.count)
        var squaredNorm = 0.0
        try source.forEachBlock { range, block in
            let rows = Strided(block, rows: range.count, columns: columns)
            let product = Strided.product(rows, Strided(tall))
            Strided.addProduct(rows.transposed, Strided(product), to: &image.values)
            squaredNorm +=
                Vectors(Array(block[..<(range.count * columns)]), count: range.count, length: columns)
                .squaredNorm
        }
        passed()
        return (image.transposed, squaredNorm)
    }

    /// D seen through the columns that it makes of the basis: D ≈ Q·Qᵀ·D with Q from D·Z.
    private mutating func projected(onto basis: Vectors, squaredNorm: Double) throws -> Sketch {
        let tall = basis.transposed
        let columns = source.columns
        var images = Vectors(count: source.rows, length: basis.count)
        try source.forEachBlock { range, block in
            Strided.addProduct(
                Strided(block, rows: range.count, columns: columns), Strided(tall), to: &images.values,
                start: range.lowerBound * basis.count)
        }
        passed()
        let left = Orthogonal(images.transposed).basis
        let tallLeft = left.transposed
        var parts = Vectors(count: left.count, length: columns)
        try source.forEachBlock { range, block in
            Strided.addProduct(
                Strided(tallLeft).rows(range).transposed, Strided(block, rows: range.count, columns: columns),
                to: &parts.values)
        }
        passed()
        let right = Orthogonal(parts)
        // parts_i = Σ_j T[j, i]·p_j, so D ≈ Σ_ij q_i·T[j, i]·p_jᵀ.
        let core = SingularValues(right.triangle.transposed)
        return Sketch(
            factors: LowRank(
                core.values[...], left: Strided.product(Strided(core.left), Strided(left)),
                right: Strided.product(Strided(core.right), Strided(right.basis))),
            values: core.values, squaredNorm: squaredNorm)
    }
}
