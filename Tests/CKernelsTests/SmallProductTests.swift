import CKernels
import Testing

extension KernelTests {
    /// Small products are their definition at every level, in all shapes of tiles and what is left over, and write nothing else.
    @Test func smallProductsAreTheDefinition() {
        defer { ak_level_force(-1) }
        var random = Random("smallProductsAreTheDefinition")
        for level in levels {
            ak_level_force(level)
            for _ in 0..<24 {
                let (rows, cols) = (Int.random(in: 1...20, using: &random), Int.random(in: 1...70, using: &random))
                let depth = Int.random(in: 1...(Int.random(in: 0..<4, using: &random) > 0 ? 40 : 300), using: &random)
                let (isTransposed, adding) = (Bool.random(using: &random), Bool.random(using: &random))
                let (lda, ldb, ldc) = ((isTransposed ? rows : depth) + 3, cols + 5, cols + 2)
                let a = (0..<(isTransposed ? depth : rows) * lda).map { _ in Float(random.normal()) }
                let b = (0..<depth * ldb).map { _ in Float(random.normal()) }
                let before = (0..<rows * ldc).map { _ in Float(random.normal()) }
                var c = before
                let (row, step) = isTransposed ? (1, lda) : (lda, 1)
                ak_small_product_f32(rows, cols, depth, a, row, step, b, ldb, adding, &c, ldc)
                for i in 0..<rows {
                    for j in 0..<ldc where j >= cols { #expect(c[i * ldc + j] == before[i * ldc + j]) }
                    for j in 0..<cols {
                        let terms = (0..<depth).map { Double(a[i * row + $0 * step]) * Double(b[$0 * ldb + j]) }
                        let start = adding ? Double(before[i * ldc + j]) : 0
                        let bound = (abs(start) + terms.reduce(0) { $0 + abs($1) }) * Double(depth + 1) * 0x1p-24
                        let wanted = start + terms.reduce(0, +)
                        #expect(
                            abs(Double(c[i * ldc + j]) - wanted) <= bound,
                            "\(rows) x \(cols), depth \(depth), \(isTransposed) \(adding), level \(level)")
                    }
                }
            }
        }
    }

    /// A transpose has every element in its place, and writes nothing else.
    @Test func transposesAreExact() {
        defer { ak_level_force(-1) }
        for level in levels {
            ak_level_force(level)
            for (rows, cols) in [(1, 1), (3, 5), (4, 16), (5, 33), (64, 7), (127, 32)] {
                let (lda, ldb) = (cols + 1, rows + 3)
                let a = (0..<rows * lda).map { Float($0) }
                var b = [Float](repeating: -1, count: cols * ldb)
                ak_transpose_f32(rows, cols, a, lda, &b, ldb)
                let wanted = (0..<cols * ldb).map { at in
                    at % ldb < rows ? Float(at % ldb * lda + at / ldb) : -1
                }
                #expect(b == wanted, "\(rows) x \(cols), level \(level)")
            }
        }
    }
}
