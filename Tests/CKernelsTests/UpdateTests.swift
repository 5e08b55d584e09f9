import CKernels
import Foundation
import Testing

/// A case for `ak_update16`.
struct Update {
    var grid: Grid
    var rows: Int
    var cols: Int
    var r: Int
    var weights: [Int]
    var left: [Double]
    var right: [Float]

    /// What the definition says.
    func expected() -> (out: [Int], overflow: Int, nonfinite: Int) {
        let delta = product(left, right.map { Double($0) }, rows, r, cols)
        let sums = zip(weights, delta).map { grid.value($0) + $1 }
        let rounded = sums.map { grid.round($0) }
        return (rounded.map(\.bits), rounded.filter(\.overflow).count, sums.filter { !$0.isFinite }.count)
    }

    func run(inPlace: Bool = false) -> (out: [Int], stats: ak_stats) {
        var packed = [Float](repeating: .nan, count: max(1, ak_packed_count(r, cols)))
        var norms = [Float](repeating: .nan, count: ak_colnorm_count(cols))
        ak_pack_right(right, cols, 1, r, cols, &packed, &norms)
        var source = bytes(grid, weights)
        var out = [UInt8](repeating: 0xAA, count: source.count)
        var stats = ak_stats()
        let size = ak_update16_scratch(rows, r)
        let scratch = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64)
        defer { scratch.deallocate() }
        if inPlace {
            source.withUnsafeMutableBytes { all in
                ak_update16(
                    grid.dtype, all.baseAddress, all.baseAddress, rows, cols, packed, norms, left, r, scratch, &stats)
            }
            return (bits(grid, source), stats)
        }
        ak_update16(grid.dtype, source, &out, rows, cols, packed, norms, left, r, scratch, &stats)
        var uncounted = [UInt8](repeating: 0xAA, count: source.count)
        ak_update16(grid.dtype, source, &uncounted, rows, cols, packed, norms, left, r, scratch, nil)
        #expect(out == uncounted, "without statistics")
        return (bits(grid, out), stats)
    }

    /// Every level against the definition, and against each other in the statistics.
    func check(_ name: String) {
        defer { ak_level_force(-1) }
        let wanted = expected()
        var first: [UInt64]?
        for level in levels {
            ak_level_force(level)
            let got = run()
            let place = "\(name), \(grid.testDescription) \(rows)x\(cols) r=\(r) level \(level)"
            if let wrong = difference(got.out, wanted.out) { Issue.record("\(place): \(wrong)") }
            let again = run(inPlace: true)
            #expect(got.out == again.out && image(got.stats) == image(again.stats), "\(place), in place")
            #expect(got.stats.elements == rows * cols && got.stats.overflow == wanted.overflow, "\(place)")
            #expect(got.stats.nonfinite == wanted.nonfinite, "\(place)")
            #expect(image(got.stats) == first ?? image(got.stats), "\(place): statistics")
            first = first ?? image(got.stats)
        }
    }
}

extension KernelTests {
    func update(
        _ grid: Grid, _ rows: Int, _ cols: Int, _ r: Int, ratio: Double, scale: Double = 0.02, _ random: inout Random
    ) -> Update {
        let factor = ratio * scale / Double(max(r, 1)).squareRoot()
        return Update(
            grid: grid, rows: rows, cols: cols, r: r,
            weights: (0..<rows * cols).map { _ in grid.round(random.normal() * scale).bits },
            left: (0..<rows * r).map { _ in random.normal() * factor },
            right: (0..<r * cols).map { _ in Float(random.normal()) })
    }

    @Test(arguments: [Grid.bf16, .f16]) func updateIsTheDefinition(grid: Grid) {
        var random = Random("updateIsTheDefinition")
        for r in [0, 1, 2, 3, 7, 8, 16, 33, 64, 97, 130] {
            let rows = Int.random(in: 1...9, using: &random)
            let cols = Int.random(in: 1...300, using: &random)
            update(grid, rows, cols, r, ratio: 0.01, &random).check("small delta")
            update(grid, rows, cols, r, ratio: 1, &random).check("large delta")
        }
        update(grid, 4, 64, 16, ratio: 0.1, &random).check("whole tile")
        update(grid, 5, 1030, 9, ratio: 0.1, &random).check("several panels")
    }

    @Test(arguments: [Grid.bf16, .f16]) func updateAtExtremeScales(grid: Grid) {
        var random = Random("updateAtExtremeScales")
        for exponent in stride(from: -150, through: 130, by: 7) {
            let scale = scalbn(1, exponent)
            update(grid, 5, 83, 5, ratio: 1, scale: scale, &random).check("2^\(exponent)")
            var unbalanced = update(grid, 3, 70, 4, ratio: 0.3, scale: scale, &random)
            unbalanced.left = unbalanced.left.map { $0 * 0x1p-40 }
            unbalanced.right = unbalanced.right.map { $0 * 0x1p40 }
            unbalanced.check("2^\(exponent), unbalanced")
        }
    }

    /// W = -D rounded, so that all that is left is rounding error; and zeros of both signs.
    @Test(arguments: [Grid.bf16, .f16]) func updateCancels(grid: Grid) {
        var random = Random("updateCancels")
        for r in [1, 5, 16] {
            var one = update(grid, 6, 150, r, ratio: 1, &random)
            one.weights = product(one.left, one.right.map { Double($0) }, one.rows, r, one.cols).map {
                grid.round(-$0).bits
            }
            one.check("cancellation")
            one.left = one.left.map { _ in 0 }
            one.weights = one.weights.map { $0 % 3 == 0 ? $0 & grid.signBit : $0 }
            one.check("zero B")
            one.right[3] = 0
            one.left[0] = 1
            one.check("zeros")
        }
    }

    @Test(arguments: [Grid.bf16, .f16]) func updateMeetsNonfiniteNumbers(grid: Grid) {
        var random = Random("updateMeetsNonfiniteNumbers")
        for poison in [Float.nan, .infinity, -.infinity, Float(bitPattern: 0x7fff_ffff), 3e38] {
            var one = update(grid, 7, 131, 6, ratio: 0.1, &random)
            for _ in 0..<40 {
                one.weights[Int.random(in: 0..<917, using: &random)] = Int.random(in: 0...65535, using: &random)
            }
            one.check("weights")
            var two = one
            two.right[17] = poison
            two.check("right \(poison)")
            one.left[9] = Double(poison)
            one.check("left \(poison)")
            one.left[9] = 1e300
            one.check("left 1e300")
        }
        for edge in [grid.largest, grid.largest - 1] {
            var one = update(grid, 5, 90, 3, ratio: 1, scale: grid.values[grid.largest] * 0x1p-10, &random)
            one.weights = one.weights.map { ($0 & grid.signBit) | edge }
            one.check("overflow")
        }
    }

    /// Sums so near a midpoint that float32 cannot tell the side: only the check sends them to float64.
    @Test(arguments: [Grid.bf16, .f16]) func updateDecidesNearTies(grid: Grid) {
        var random = Random("updateDecidesNearTies")
        for r in [2, 16, 64] {
            var one = update(grid, 4, 128, r, ratio: 0.5, scale: 1, &random)
            for i in 0..<4 {
                // The last step of a row carries every sum to a midpoint, give or take what float64 can tell.
                for j in 0..<128 { one.right[(r - 1) * 128 + j] = 1 }
                one.left[i * r + r - 1] = 0
                let rest = product(
                    Array(one.left[i * r..<(i + 1) * r]), one.right.map { Double($0) }, 1, r, 128)
                let index = grid.round(1).bits + Int.random(in: 1...100, using: &random)
                let midpoint = (grid.values[index] + grid.values[index + 1]) / 2
                let column = Int.random(in: 0..<128, using: &random)
                let nudge = Double.random(in: -0x1p-30...0x1p-30, using: &random)
                one.weights[i * 128 + column] = grid.round(1).bits
                one.left[i * r + r - 1] = midpoint - 1 - rest[column] + nudge
            }
            one.check("near ties")
        }
        // Steps of 2^-26 from a midpoint: float32 sees the tie itself.
        var ties = update(grid, 4, 256, 2, ratio: 1, scale: 1, &random)
        let half = (grid.values[grid.round(1).bits + 1] - 1) / 2
        for j in 0..<256 {
            ties.right[j] = 1
            ties.right[256 + j] = Float(j - 128) * 0x1p-30
            for i in 0..<4 { ties.weights[i * 256 + j] = grid.round(1).bits + i }
        }
        for i in 0..<4 { (ties.left[2 * i], ties.left[2 * i + 1]) = (half, 1) }
        ties.check("ties")
    }

    /// The statistics against sums taken in float64.
    @Test(arguments: [Grid.bf16, .f16]) func updateStatistics(grid: Grid) {
        var random = Random("updateStatistics")
        for ratio in [0.003, 0.5] {
            let one = update(grid, 13, 777, 16, ratio: ratio, &random)
            let (out, stats) = one.run()
            let delta = product(one.left, one.right.map { Double($0) }, 13, 16, 777)
            let w = one.weights.map(grid.value)
            let lost = zip(zip(out.map(grid.value), w), delta).map { $0.0 - $0.1 - $1 }
            let near = { (a: Double, values: [Double]) in
                let sum = values.reduce(0) { $0 + $1 * $1 }
                return abs(a - sum) <= 1e-4 * sum
            }
            #expect(near(stats.delta2, delta) && near(stats.weight2, w) && near(stats.error2, lost))
            #expect(stats.nonzero == 13 * 777)
            #expect(stats.swallowed == zip(out, one.weights).filter { $0 == $1 }.count)
        }
    }

    /// A sum that rounds another way by way of float64: what a level without fused multiply-add must not do.
    @Test func sumsRoundOnce() {
        let near = Float(1).ulp
        Update(
            grid: .bf16, rows: 1, cols: 1, r: 2, weights: [0x3f80],
            left: [1 + Double(near), 0x1p-12 * (1 + Double(near))], right: [1, 0x1p-12 * (1 - near)]
        ).check("double rounding")
        Update(
            grid: .bf16, rows: 1, cols: 1, r: 2, weights: [0x3f80],
            left: [-1 - Double(near), 0x1p-12 * (1 + Double(near))], right: [1, -0x1p-12 * (1 - near)]
        ).check("double rounding, negative")
        // 8384513 * 8392705 = 2^46 + 1: past a midpoint by less than float64 shows.
        Update(
            grid: .bf16, rows: 1, cols: 1, r: 2, weights: [0x3f80], left: [1, 8_384_513 * 0x1p-35],
            right: [1, 8_392_705 * 0x1p-35]
        ).check("past the midpoint")
    }

    @Test func packingFollowsStrides() {
        let plain = (0..<6 * 70).map { Float($0) }
        let turned = (0..<420).map { (at: Int) -> Float in plain[at % 6 * 70 + at / 6] }
        var a = [Float](repeating: .nan, count: ak_packed_count(6, 70))
        var b = a
        var normA = [Float](repeating: .nan, count: ak_colnorm_count(70))
        var normB = normA
        ak_pack_right(plain, 70, 1, 6, 70, &a, &normA)
        ak_pack_right(turned, 1, 6, 6, 70, &b, &normB)
        #expect(a == b && normA == normB)
        #expect(a[133] == plain[145] && a[577] == plain[275] && a[767] == 0)
    }
}
