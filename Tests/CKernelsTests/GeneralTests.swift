import CKernels
import Foundation
import Testing

extension KernelTests {
    @Test func deltaIsTheDefinition() {
        defer { ak_level_force(-1) }
        var random = Random("deltaIsTheDefinition")
        for (rows, r, cols) in [(1, 1, 1), (4, 16, 32), (7, 97, 75), (5, 200, 33), (9, 5, 130), (3, 0, 20)] {
            let left = (0..<rows * r).map { _ in random.normal() }
            let right = (0..<r * cols).map { _ in
                random.normal() * scalbn(1, Int.random(in: -20...20, using: &random))
            }
            let wanted = product(left, right, rows, r, cols).map(\.bitPattern)
            for level in levels {
                ak_level_force(level)
                var delta = [Double](repeating: .nan, count: rows * cols)
                ak_delta_f64(right, left, rows, r, cols, &delta)
                #expect(difference(delta.map(\.bitPattern), wanted) == nil, "\(rows)x\(r)x\(cols) level \(level)")
            }
        }
    }

    /// Everything that `ak_finish` may be asked for, against one element after the other.
    @Test(arguments: Grid.all, Grid.all) func finishIsTheDefinition(from: Grid, to: Grid) {
        defer { ak_level_force(-1) }
        var random = Random("finishIsTheDefinition")
        let (rows, cols, ldw, ldo, ldd) = (3, 531, 540, 533, 535)
        var weights = (0..<rows * ldw).map { _ in from.round(random.normal() * 0.3).bits }
        for _ in 0..<20 {
            let pattern = Int.random(in: 0..<1 << from.width, using: &random)
            weights[Int.random(in: 0..<weights.count, using: &random)] = pattern
        }
        let delta = (0..<rows * ldd).map { $0 % 50 == 0 ? 0 : $0 % 301 == 7 ? .infinity : random.normal() * 0.01 }
        let rowFactor = (0..<rows).map { _ in Double.random(in: 0.5...2, using: &random) }
        let colFactor = (0..<cols).map { _ in Double.random(in: 0.5...2, using: &random) }
        for (kind, (inScale, outScale)) in zip(0..<5, [(1.0, 1.0), (1, 1), (1, 1), (0.013, 0.013), (3, 1e-5)]) {
            let useDelta = kind != 1
            let useFactors = kind == 2 || kind == 4
            var out = [Int](repeating: 0, count: rows * cols)
            var counts: [UInt64] = [UInt64(rows * cols), 0, 0, 0, 0]
            var sums = [0.0, 0.0, 0.0]
            for i in 0..<rows {
                for j in 0..<cols {
                    let w = from.value(weights[i * ldw + j]) * inScale
                    let d = delta[i * ldd + j]
                    var x = useDelta ? w + d : w
                    if useFactors { x = x * rowFactor[i] * colFactor[j] }
                    let change = useDelta && !useFactors ? d : x - w
                    let (bits, overflow) = to.round(x / outScale)
                    out[i * cols + j] = bits
                    counts[3] += overflow ? 1 : 0
                    guard (x / outScale).isFinite else {
                        counts[4] += 1
                        continue
                    }
                    counts[1] += change != 0 ? 1 : 0
                    counts[2] += change != 0 && bits == to.round(w / outScale).bits ? 1 : 0
                    let error = to.value(bits) * outScale - w - change
                    sums[0] += change * change
                    sums[1] += w * w
                    if to.value(bits).isFinite { sums[2] += error * error }
                }
            }
            var first: [UInt64]?
            for level in levels {
                ak_level_force(level)
                var stats = ak_stats()
                var got = [UInt8](repeating: 0xAA, count: rows * ldo * to.width / 8)
                ak_finish(
                    from.dtype, bytes(from, weights), ldw, to.dtype, &got, ldo, rows, cols, useDelta ? delta : nil, ldd,
                    useFactors ? rowFactor : nil, useFactors ? colFactor : nil, inScale, outScale, &stats)
                let all = bits(to, got)
                let place = "kind \(kind) level \(level)"
                let inside = (0..<rows * cols).map { all[$0 / cols * ldo + $0 % cols] }
                #expect(difference(inside, out) == nil, "\(place)")
                #expect(all[cols] == (to.width == 8 ? 0xAA : 0xAAAA), "\(place): beyond the row")
                #expect(Array(image(stats).dropFirst(3)) == counts, "\(place)")
                for (a, b) in zip([stats.delta2, stats.weight2, stats.error2], sums) {
                    #expect(abs(a - b) <= 1e-12 * b, "\(place)")
                }
                #expect(image(stats) == first ?? image(stats), "\(place): statistics")
                first = image(stats)
            }
        }
    }

    @Test func finishWorksInPlaceAndWithoutStatistics() {
        var random = Random("finishWorksInPlaceAndWithoutStatistics")
        let weights = (0..<600).map { _ in Float(random.normal()) }
        let delta = (0..<600).map { _ in random.normal() * 1e-3 }
        var out = weights
        out.withUnsafeMutableBytes { all in
            ak_finish(
                AK_F32, all.baseAddress, 300, AK_F32, all.baseAddress, 300, 2, 300, delta, 300, nil, nil, 1, 1, nil)
        }
        #expect(out == zip(weights, delta).map { Float(Double($0) + $1) })
    }

    @Test func sumsOfSquares() {
        defer { ak_level_force(-1) }
        var random = Random("sumsOfSquares")
        let (rows, cols, ldw, ldd) = (4, 533, 540, 534)
        let weights = (0..<rows * ldw).map { _ in Float(random.normal()) }
        let delta = (0..<rows * ldd).map { _ in random.normal() }
        for useDelta in [true, false] {
            let squares = (0..<rows * cols).map { at in
                let (i, j) = (at / cols, at % cols)
                let x = Double(weights[i * ldw + j]) * 0.7 + (useDelta ? delta[i * ldd + j] : 0)
                return x * x
            }
            // Sixteen lanes by column, joined in pairs: the order is part of the promise.
            let byRow = (0..<rows).map { i in
                var lanes = [Double](repeating: 0, count: 16)
                for j in 0..<cols { lanes[j % 16] += squares[i * cols + j] }
                for half in [8, 4, 2, 1] { for lane in 0..<half { lanes[lane] += lanes[lane + half] } }
                return lanes[0]
            }
            let byColumn = (0..<cols).map { j in (0..<rows).reduce(0.5) { $0 + squares[$1 * cols + j] } }
            for level in levels {
                ak_level_force(level)
                var sums = [Double](repeating: .nan, count: rows)
                ak_row_sumsq(AK_F32, weights, ldw, rows, cols, useDelta ? delta : nil, ldd, 0.7, &sums)
                #expect(sums == byRow, "level \(level)")
                var columns = [Double](repeating: 0.5, count: cols)
                ak_col_sumsq(AK_F32, weights, ldw, rows, cols, useDelta ? delta : nil, ldd, 0.7, &columns)
                #expect(columns == byColumn, "level \(level)")
            }
        }
    }
}

extension KernelTests {
    /// Products of matrices that lie either way round, added to what is there, to the bit.
    @Test func productIsTheDefinition() {
        defer { ak_level_force(-1) }
        var random = Random("productIsTheDefinition")
        for (rows, cols, depth) in [(1, 1, 1), (4, 32, 96), (9, 70, 201), (33, 31, 5), (6, 64, 0), (130, 40, 17)] {
            let a = (0..<rows * depth).map { _ in random.normal() }
            let b = (0..<depth * cols).map { _ in random.normal() * scalbn(1, Int.random(in: -9...9, using: &random)) }
            let start = (0..<rows * (cols + 3)).map { _ in random.normal() }
            for (isTurned, isOther) in [(false, false), (true, false), (false, true), (true, true)] {
                var wanted = start
                for i in 0..<rows {
                    for j in 0..<cols {
                        for k in 0..<depth {
                            let left = isTurned ? a[k * rows + i] : a[i * depth + k]
                            let right = isOther ? b[j * depth + k] : b[k * cols + j]
                            wanted[i * (cols + 3) + j] = fma(left, right, wanted[i * (cols + 3) + j])
                        }
                    }
                }
                for level in levels {
                    ak_level_force(level)
                    var c = start
                    ak_product_f64(
                        rows, cols, depth, a, isTurned ? 1 : depth, isTurned ? rows : 1, b, isOther ? 1 : cols,
                        isOther ? depth : 1, &c, cols + 3)
                    let label = "\(rows)x\(cols)x\(depth) \(isTurned) \(isOther) level \(level)"
                    #expect(difference(c.map(\.bitPattern), wanted.map(\.bitPattern)) == nil, "\(label)")
                }
            }
        }
    }

    /// Sums of products, sums of vectors and rotations, to the bit.
    @Test func vectorsAreTheDefinition() {
        defer { ak_level_force(-1) }
        var random = Random("vectorsAreTheDefinition")
        for count in [0, 1, 15, 16, 17, 100, 256, 1003] {
            let x = (0..<count).map { _ in random.normal() }
            let y = (0..<count).map { _ in random.normal() }
            var lanes = [Double](repeating: 0, count: 16)
            for at in 0..<count { lanes[at % 16] = fma(x[at], y[at], lanes[at % 16]) }
            for half in [8, 4, 2, 1] {
                for lane in 0..<half { lanes[lane] += lanes[lane + half] }
            }
            let (c, s) = (0.8, -0.6)
            let turned = (0..<count).map { fma(c, x[$0], -s * y[$0]) } + (0..<count).map { fma(c, y[$0], s * x[$0]) }
            let added = (0..<count).map { fma(0.37, x[$0], y[$0]) }
            for level in levels {
                ak_level_force(level)
                #expect(ak_dot_f64(x, y, count).bitPattern == lanes[0].bitPattern, "dot of \(count) level \(level)")
                var sum = y
                ak_axpy_f64(0.37, x, &sum, count)
                #expect(
                    difference(sum.map(\.bitPattern), added.map(\.bitPattern)) == nil, "axpy \(count) level \(level)")
                var (a, b) = (x, y)
                ak_rotate_f64(c, s, &a, &b, count)
                #expect(
                    difference((a + b).map(\.bitPattern), turned.map(\.bitPattern)) == nil,
                    "rotate \(count) level \(level)")
            }
        }
    }
}

extension KernelTests {
    /// What sparse methods do to one element after the other, at lengths that leave a rest.
    @Test func sparseMethodsAreTheDefinition() {
        defer { ak_level_force(-1) }
        var random = Random("sparseMethodsAreTheDefinition")
        let count = 1003
        let values = (0..<count).map { $0 % 7 == 0 ? 0 : $0 % 11 == 0 ? -0.0 : random.normal() }
        let start = (0..<count).map { $0 % 5 == 0 ? 0 : random.normal() }
        let bound = Float(0.4)
        for level in levels {
            ak_level_force(level)
            var sifted = values
            ak_sift_f64(&sifted, count, bound.bitPattern)
            #expect(difference(sifted, values.map { abs(Float($0)) >= bound ? $0 : 0 }) == nil)
            var (total, signs) = (start, start)
            ak_balance_f64(values, &total, count, false)
            ak_balance_f64(values, &signs, count, true)
            #expect(difference(total, zip(start, values).map { $0 + $1 }) == nil)
            #expect(difference(signs, zip(start, values).map { $0 + ($1 > 0 ? 1 : $1 < 0 ? -1 : 0) }) == nil)
            var (sum, counts) = ([Double](repeating: 1, count: count), [Double](repeating: 1, count: count))
            ak_agree_f64(values, start, 3, &sum, &counts, count)
            let agrees = zip(values, start).map { $0 != 0 && ($0 > 0) == ($1 >= 0) }
            #expect(difference(sum, zip(agrees, values).map { $0 ? 1 + 3 * $1 : 1 }) == nil)
            #expect(difference(counts, agrees.map { $0 ? 2 : 1 }) == nil)
            ak_share_f64(&sum, counts, count)
            #expect(difference(sum, zip(agrees, values).map { $0 ? (1 + 3 * $1) / 2 : 1 }) == nil)
        }
    }
}
