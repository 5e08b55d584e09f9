import Fixtures
import Testing

@testable import Composition

/// Random vectors.
func randomVectors(_ count: Int, _ length: Int, _ random: inout SeededRandom) -> Vectors {
    var result = Vectors(count: count, length: length)
    for at in result.values.indices { result.values[at] = Double.random(in: -1...1, using: &random) }
    return result
}

/// The largest |element| of the difference.
func distance(_ a: Vectors, _ b: Vectors) -> Double {
    zip(a.values, b.values).reduce(0) { max($0, abs($1.0 - $1.1)) }
}

/// How far vectors are from being orthonormal, but for zeros.
func skewness(_ vectors: Vectors) -> Double {
    var worst = 0.0
    for i in 0..<vectors.count {
        for j in 0...i {
            let wanted = i == j && vectors.dot(i, i) > 0 ? 1.0 : 0
            worst = max(worst, abs(vectors.dot(i, j) - wanted))
        }
    }
    return worst
}

/// Σ_k σ_k·u_k·v_kᵀ.
func rebuilt(_ found: SingularValues) -> Vectors {
    var scaled = found.left
    for (index, value) in found.values.enumerated() { scaled.scale(index, by: value) }
    return Strided.product(Strided(scaled).transposed, Strided(found.right))
}

@Suite struct AlgebraTests {
    @Test func orthogonalisationRebuildsItsInput() {
        var random = SeededRandom(test: "orthogonalisationRebuildsItsInput")
        for (count, length) in [(1, 1), (5, 40), (70, 300), (40, 12), (33, 33)] {
            let vectors = randomVectors(count, length, &random)
            let parts = Orthogonal(vectors)
            #expect(skewness(parts.basis) < 1e-13, "\(count) × \(length)")
            let back = Strided.product(Strided(parts.triangle).transposed, Strided(parts.basis))
            #expect(distance(back, vectors) < 1e-13, "\(count) × \(length)")
            for i in 0..<count {
                for j in 0..<i { #expect(parts.triangle[i, j] == 0) }
            }
        }
    }

    /// Vectors that depend on others up to some part, at very different scales.
    @Test func nearlyDependentVectorsStayOrthogonal() {
        var random = SeededRandom(test: "nearlyDependentVectorsStayOrthogonal")
        let base = randomVectors(6, 200, &random)
        var all = base
        for power in 1...24 {
            var next = Vectors(base.elements(power % 6).map { $0 }, count: 1, length: 200)
            let part = Double(sign: .plus, exponent: -power * 3, significand: 1)
            for at in 0..<200 { next.values[at] += part * Double.random(in: -1...1, using: &random) }
            next.scale(0, by: Double(sign: .plus, exponent: (power % 5 - 2) * 30, significand: 1))
            all.append(next)
        }
        let parts = Orthogonal(all)
        #expect(skewness(parts.basis) < 1e-13)
        let back = Strided.product(Strided(parts.triangle).transposed, Strided(parts.basis))
        for index in 0..<all.count {
            let size = all.dot(index, index).squareRoot()
            for at in 0..<200 { #expect(abs(back[index, at] - all[index, at]) <= 1e-13 * size) }
        }
    }

    @Test func singularValuesRebuildTheMatrix() {
        var random = SeededRandom(test: "singularValuesRebuildTheMatrix")
        for (rows, columns) in [(1, 1), (3, 3), (17, 5), (5, 17), (64, 64), (90, 130)] {
            let matrix = randomVectors(rows, columns, &random)
            let found = SingularValues(matrix)
            #expect(found.values.count <= min(rows, columns))
            #expect(zip(found.values, found.values.dropFirst()).allSatisfy { $0 >= $1 })
            #expect(skewness(found.left) < 1e-12 && skewness(found.right) < 1e-12, "\(rows) × \(columns)")
            #expect(distance(rebuilt(found), matrix) < 1e-12, "\(rows) × \(columns)")
        }
    }

    /// Known singular values: repeated, zero, and 30 powers of ten apart.
    @Test func singularValuesAreFoundToTheirOwnDigits() {
        var random = SeededRandom(test: "singularValuesAreFoundToTheirOwnDigits")
        for wanted in [[3, 3, 3, 2, 2, 1], [1e15, 1, 1, 1e-15], [5, 4, 0, 0], [0, 0, 0], [1e-160, 1e-165]] {
            let size = wanted.count
            let left = Orthogonal(randomVectors(size, 30, &random)).basis
            var matrix = Vectors(count: size, length: 30)
            // Orthonormal columns times a diagonal are graded, so that even the smallest value is determined.
            for (index, value) in wanted.enumerated() {
                for at in 0..<30 { matrix[index, at] = value * left[index, at] }
            }
            let found = SingularValues(matrix.transposed)
            let positive = wanted.filter { $0 > 0 }
            #expect(found.values.count { $0 > 0 } == positive.count)
            for (value, expected) in zip(found.values, positive) { #expect(abs(value / expected - 1) < 1e-12) }
        }
    }

    /// The truncation of a sum of products is that of the dense matrix, and the measured errors are the real ones.
    @Test func truncationIsTheBestOne() {
        var random = SeededRandom(test: "truncationIsTheBestOne")
        for (rows, columns, rank) in [(40, 60, 8), (12, 50, 20), (30, 30, 3)] {
            let factors = LowRank(
                left: randomVectors(rank, rows, &random), right: randomVectors(rank, columns, &random))
            let weights = (0..<rank).map { _ in Double.random(in: -2...2, using: &random) }
            var weighted = factors
            for (index, weight) in weights.enumerated() { weighted.left.scale(index, by: weight) }
            let dense = Strided.product(Strided(weighted.left).transposed, Strided(factors.right))
            let whole = SingularValues(dense)
            let sum = LowRankSum(factors, weights: weights)
            for kept in 0...rank {
                let found = sum.truncated(to: kept)
                var rest = Strided.product(Strided(found.factors.left).transposed, Strided(found.factors.right))
                for at in rest.values.indices { rest.values[at] -= dense.values[at] }
                let best = whole.values.dropFirst(kept).reduce(0) { $0 + $1 * $1 }
                #expect(abs(rest.squaredNorm - best) < 1e-12 * dense.squaredNorm)
                var rough = found.factors
                for at in rough.left.values.indices { rough.left.values[at] = Double(Float(rough.left.values[at])) }
                for at in rough.right.values.indices { rough.right.values[at] += 1e-4 * Double(at % 7) }
                var difference = Strided.product(Strided(rough.left).transposed, Strided(rough.right))
                for at in difference.values.indices { difference.values[at] -= dense.values[at] }
                let measured = sum.squaredError(of: rough)
                #expect(abs(measured - difference.squaredNorm) <= 1e-9 * difference.squaredNorm + 1e-12)
            }
        }
    }

    @Test func truncationsKeepWhatTheyPromise() {
        let values = [4.0, 2, 1, 1, 0.5, 0]
        #expect(Truncation().count(of: values) == 5)
        #expect(Truncation(rank: 3).count(of: values) == 3)
        #expect(Truncation(rank: 9).count(of: values) == 5)
        #expect(Truncation(ratio: 4).count(of: values) == 4)
        #expect(Truncation(ratio: 1).count(of: values) == 1)
        // 16, 20, 21, 22, 22.25.
        #expect(Truncation(energy: 16 / 22.25).count(of: values) == 1)
        #expect(Truncation(energy: 0.9).count(of: values) == 3)
        #expect(Truncation(energy: 1).count(of: values) == 5)
        #expect(Truncation(rank: 2, energy: 0.9).count(of: values) == 2)
        #expect(Truncation(energy: 0.9).count(of: []) == 0)
        #expect(Truncation(energy: 0.5).count(of: values, total: 44.5) == 5)
        #expect(Truncation(energy: 0.9).count(of: [1e200, 1e200]) == 2)
    }
}

/// A matrix in memory that is read by blocks.
struct Stored: RowBlocks {
    let matrix: Vectors
    var rows: Int { matrix.count }
    var columns: Int { matrix.length }

    func read(_ range: Range<Int>, to target: inout [Double]) {
        let place = range.lowerBound * columns..<range.upperBound * columns
        target.replaceSubrange(0..<place.count, with: matrix.values[place])
    }
}

@Suite struct SubspaceTests {
    private func error(_ matrix: Vectors, _ found: Approximation) throws -> Double {
        var source = Stored(matrix: matrix)
        return try source.error(of: found.factors).squared
    }

    /// Large enough for the sketch: the error is the best one's, on spectra that fall and that do not.
    @Test func sketchesComeNearTheBest() throws {
        var random = SeededRandom(test: "sketchesComeNearTheBest")
        for (decay, slack) in [(0.8, 1e-6), (0.99, 1e-3), (1.0, 2e-2)] {
            let (rows, columns) = (500, 340)
            let left = Orthogonal(randomVectors(columns, rows, &random)).basis
            let right = Orthogonal(randomVectors(columns, columns, &random)).basis
            var values = (0..<columns).map { _ in 1.0 }
            for at in 1..<columns { values[at] = values[at - 1] * decay }
            let matrix = Strided.product(
                Strided(LowRank(values[...], left: left, right: right).left).transposed,
                Strided(LowRank(values[...], left: left, right: right).right))
            for kept in [1, 10, 40] {
                var iteration = SubspaceIteration(
                    Stored(matrix: matrix), random: NumberedRandom(seed: 1, "test"))
                let found = try iteration.approximation(Truncation(rank: kept))
                #expect(found.factors.rank == kept)
                let best = values.dropFirst(kept).reduce(0) { $0 + $1 * $1 }
                let own = try error(matrix, found)
                #expect(own <= best * (1 + slack) + 1e-12, "rank \(kept), decay \(decay): \(own) instead of \(best)")
                #expect(own >= best * (1 - 1e-9) - 1e-12)
            }
        }
    }

    @Test func energyFindsItsRank() throws {
        var random = SeededRandom(test: "energyFindsItsRank")
        let left = Orthogonal(randomVectors(60, 400, &random)).basis
        let right = Orthogonal(randomVectors(60, 300, &random)).basis
        let values = (0..<60).map { 1 / Double($0 + 1) }
        let factors = LowRank(values[...], left: left, right: right)
        let matrix = Strided.product(Strided(factors.left).transposed, Strided(factors.right))
        for energy in [0.3, 0.9, 0.99, 0.999] {
            let wanted = Truncation(energy: energy).count(of: values)
            for turned in [false, true] {
                var iteration = SubspaceIteration(
                    Stored(matrix: turned ? matrix.transposed : matrix), random: NumberedRandom(seed: 2, "test"))
                let found = try iteration.approximation(Truncation(energy: energy))
                #expect(found.factors.rank == wanted)
            }
        }
    }

    /// A rank near the smaller side: by the Gram matrix, tall and wide.
    @Test func highRanksAreFoundByGramMatrices() throws {
        var random = SeededRandom(test: "highRanksAreFoundByGramMatrices")
        let left = Orthogonal(randomVectors(300, 420, &random)).basis
        let right = Orthogonal(randomVectors(300, 310, &random)).basis
        let values = (0..<300).map { 2 - Double($0) / 200 }
        let factors = LowRank(values[...], left: left, right: right)
        let matrix = Strided.product(Strided(factors.left).transposed, Strided(factors.right))
        for turned in [false, true] {
            let source = Stored(matrix: turned ? matrix.transposed : matrix)
            for kept in [120, 290] {
                var iteration = SubspaceIteration(source, random: NumberedRandom(seed: 4, "test"))
                let found = try iteration.approximation(Truncation(rank: kept))
                #expect(found.factors.rank == kept)
                let best = values.dropFirst(kept).reduce(0) { $0 + $1 * $1 }
                let own = try iteration.error(of: found.factors).squared
                #expect(abs(own - best) <= 1e-9 * matrix.squaredNorm, "\(kept): \(own) instead of \(best)")
            }
            var iteration = SubspaceIteration(source, random: NumberedRandom(seed: 4, "test"))
            let found = try iteration.approximation(Truncation(energy: 0.97))
            #expect(found.factors.rank == Truncation(energy: 0.97).count(of: values))
        }
    }

    /// Small and wide, tall, zero.
    @Test func smallMatricesAreDecomposedWhole() throws {
        var random = SeededRandom(test: "smallMatricesAreDecomposedWhole")
        for (rows, columns) in [(3, 700), (700, 3), (20, 20)] {
            let matrix = randomVectors(rows, columns, &random)
            var iteration = SubspaceIteration(Stored(matrix: matrix), random: NumberedRandom(seed: 3, "test"))
            let found = try iteration.approximation(Truncation())
            #expect(try error(matrix, found) < 1e-24 * matrix.squaredNorm * Double(rows * columns))
        }
        var iteration = SubspaceIteration(
            Stored(matrix: Vectors(count: 300, length: 290)), random: NumberedRandom(seed: 3, "test"))
        let none = try iteration.approximation(Truncation(rank: 4))
        #expect(try iteration.error(of: none.factors).squared == 0)
    }
}
