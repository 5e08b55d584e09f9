/// Vectors as combinations of orthonormal ones: x_j = Σ_i R[i, j]·q_i, with R upper triangular.
///
/// Gram-Schmidt by blocks, each block twice ("twice is enough"), so that the q are orthonormal to rounding error whatever the
/// condition of the x. Errors are relative to each x_j, so badly scaled vectors lose nothing. A vector that depends on those
/// before it, up to rounding, gives a q_j that is zero.
struct Orthogonal {
    /// The q_i.
    private(set) var basis: Vectors
    /// R: row i holds the parts of q_i in all x.
    private(set) var triangle: Vectors

    /// What is left of a vector is noise below this part of its norm.
    private static let noise = 1e-14
    /// Vectors that are handled together.
    private static let block = 32

    /// Takes `vectors` apart.
    init(_ vectors: Vectors) {
        basis = vectors
        triangle = Vectors(count: vectors.count, length: vectors.count)
        for start in stride(from: 0, to: vectors.count, by: Self.block) {
            let range = start..<min(vectors.count, start + Self.block)
            let norms = range.map { basis.dot($0, $0).squareRoot() }
            if start > 0 {
                for _ in 0..<2 { subtract(before: range) }
            }
            for at in range { finish(at, from: start, norm: norms[at - start]) }
        }
    }

    /// Takes what lies along the earlier q out of a block.
    private mutating func subtract(before range: Range<Int>) {
        let (start, length) = (range.lowerBound, basis.length)
        let place = start * length..<range.upperBound * length
        var rest = Array(basis.values[place])
        var parts: Vectors
        do {
            let earlier = Strided(basis.values, rows: start, columns: length)
            parts = Strided.product(earlier, Strided(rest, rows: range.count, columns: length).transposed)
            for at in parts.values.indices { parts.values[at].negate() }
            Strided.addProduct(Strided(parts).transposed, earlier, to: &rest)
        }
        for i in 0..<start {
            for j in 0..<range.count { triangle[i, start + j] -= parts[i, j] }
        }
        basis.values.replaceSubrange(place, with: rest)
    }

    /// Makes vector `at` orthogonal to those of its block, and a unit vector.
    private mutating func finish(_ at: Int, from start: Int, norm: Double) {
        guard norm > 0 else { return }
        var before = basis.dot(at, at).squareRoot()
        var first = start
        var left = before
        for _ in 0..<4 where left > Self.noise * norm {
            for i in first..<at {
                let part = basis.dot(i, at)
                triangle[i, at] += part
                basis.add(-part, i, to: at)
            }
            left = basis.dot(at, at).squareRoot()
            if left > 0.5 * before { break }
            // So much was taken away that what remains of the earlier ones shows again.
            before = left
            first = 0
        }
        guard left > Self.noise * norm else {
            basis.scale(at, by: 0)
            return
        }
        triangle[at, at] = left
        basis.scale(at, by: 1 / left)
    }
}
