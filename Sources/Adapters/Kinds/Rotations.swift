/// Skew matrices and the rotations that are made of them, several blocks in one array (count × size × size).
enum Rotations {
    /// Q = X - Xᵀ for each block, times `factor`.
    static func skew(_ blocks: [Double], size: Int, times factor: Double = 1) -> [Double] {
        var result = blocks
        for start in stride(from: 0, to: blocks.count, by: size * size) {
            for i in 0..<size {
                for j in 0..<size {
                    result[start + i * size + j] =
                        factor * (blocks[start + i * size + j] - blocks[start + j * size + i])
                }
            }
        }
        return result
    }

    /// Calls `make` for each block and joins what it gives.
    static func map(_ blocks: [Double], size: Int, _ make: ([Double]) -> [Double]) -> [Double] {
        stride(from: 0, to: blocks.count, by: size * size).flatMap { make(Array(blocks[$0..<$0 + size * size])) }
    }

    /// The Frobenius norm.
    static func norm(_ values: [Double]) -> Double { values.reduce(0) { $0 + $1 * $1 }.squareRoot() }

    /// LyCORIS's blocks (`lycoris/modules/diag_oft.py`, `boft.py`; kohya's `networks/oft.py`): Q is limited to a norm over
    /// all blocks, where a limit above 0 is given, and R = (I + Q)(I - Q)⁻¹.
    static func lycoris(_ blocks: [Double], size: Int, limit: Double) -> [Double] {
        var q = skew(blocks, size: size)
        let length = norm(q) + 1e-8
        if limit > 0, length > limit { q = q.map { $0 * (limit / length) } }
        return map(q, size: size) { DenseMatrix.cayley($0, size: size, sign: -1) }
    }
}
