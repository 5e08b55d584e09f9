import CKernels
import Foundation
import Testing

/// What `ak_update16_back` gives besides the merged weights.
private struct Back {
    let out: [Int]
    let back: [Int]
    /// A bit for each element, and what was written behind the last word.
    let differs: [UInt64]
    let stats: ak_stats
}

private let guardWord: UInt64 = 0xAAAA_5555_AAAA_5555

extension Update {
    fileprivate func runBack() -> Back {
        var packed = [Float](repeating: .nan, count: max(1, ak_packed_count(r, cols)))
        var norms = [Float](repeating: .nan, count: ak_colnorm_count(cols))
        ak_pack_right(right, cols, 1, r, cols, &packed, &norms)
        let source = bytes(grid, weights)
        // Bytes behind the last element show whether a vector was written past it.
        var (out, back) = ([UInt8](repeating: 0xAA, count: source.count + 64), [UInt8]())
        back = out
        var differs = [UInt64](repeating: guardWord, count: rows * ((cols + 63) / 64) + 2)
        var stats = ak_stats()
        let scratch = UnsafeMutableRawPointer.allocate(byteCount: ak_update16_scratch(rows, r), alignment: 64)
        defer { scratch.deallocate() }
        ak_update16_back(
            grid.dtype, source, &out, &back, &differs, rows, cols, packed, norms, left, r, scratch, &stats)
        #expect(out[source.count...].allSatisfy { $0 == 0xAA } && back[source.count...].allSatisfy { $0 == 0xAA })
        return Back(
            out: bits(grid, Array(out[..<source.count])), back: bits(grid, Array(back[..<source.count])),
            differs: differs, stats: stats)
    }

    /// What the definition says comes back from `out`.
    private func expectedBack(_ out: [Int]) -> [Int] {
        let delta = product(left, right.map { Double($0) }, rows, r, cols)
        return zip(out, delta).map { grid.round(grid.value($0) - $1).bits }
    }

    private func expectedMarks(_ back: [Int]) -> [UInt64] {
        let words = (cols + 63) / 64
        var marks = [UInt64](repeating: 0, count: rows * words)
        for i in 0..<rows {
            for j in 0..<cols where back[i * cols + j] != weights[i * cols + j] {
                marks[i * words + j / 64] |= 1 << UInt64(j % 64)
            }
        }
        return marks + [guardWord, guardWord]
    }

    /// Every level against `ak_update16`, against the definition, and against the others.
    ///
    /// - Returns: how many elements do not come back by rounding alone.
    @discardableResult fileprivate func checkBack(_ name: String) -> Int {
        defer { ak_level_force(-1) }
        var (count, first): (Int, [UInt64]?) = (0, nil)
        for level in levels {
            ak_level_force(level)
            let place = "\(name), \(grid.testDescription) \(rows)x\(cols) r=\(r) level \(level)"
            let plain = run()
            let got = runBack()
            if let wrong = difference(got.out, plain.out) { Issue.record("\(place): out: \(wrong)") }
            #expect(image(got.stats) == image(plain.stats), "\(place): statistics")
            if let wrong = difference(got.back, expectedBack(plain.out)) { Issue.record("\(place): back: \(wrong)") }
            var negated = self
            negated.weights = plain.out
            negated.left = left.map { -$0 }
            if let wrong = difference(got.back, negated.run().out) { Issue.record("\(place): negated: \(wrong)") }
            let marks = expectedMarks(got.back)
            if let wrong = difference(got.differs, marks) { Issue.record("\(place): marks: \(wrong)") }
            #expect(got.differs == first ?? got.differs, "\(place): levels differ")
            first = first ?? got.differs
            count = marks.dropLast(2).reduce(0) { $0 + $1.nonzeroBitCount }
        }
        return count
    }
}

extension KernelTests {
    @Test(arguments: [Grid.bf16, .f16]) func backIsTheDefinition(grid: Grid) {
        var random = Random("backIsTheDefinition")
        var differing = 0
        for r in [0, 1, 2, 3, 8, 17, 64, 129, 256, 300] {
            let rows = Int.random(in: 1...6, using: &random)
            let cols = Int.random(in: 1...200, using: &random)
            differing += update(grid, rows, cols, r, ratio: 0.01, &random).checkBack("small delta")
            differing += update(grid, rows, cols, r, ratio: 1, &random).checkBack("large delta")
            differing += update(grid, rows, cols, r, ratio: 30, &random).checkBack("huge delta")
        }
        #expect(differing > 0, "rounding takes something from such deltas")
    }

    /// Widths around those of vectors, words of marks and strips, and more than one panel.
    @Test(arguments: [Grid.bf16, .f16]) func backOfOddWidths(grid: Grid) {
        var random = Random("backOfOddWidths")
        for cols in [1, 2, 15, 16, 17, 33, 48, 63, 64, 65, 80, 127, 128, 129, 193] {
            for rows in [1, 5] { update(grid, rows, cols, 4, ratio: 0.5, &random).checkBack("width") }
        }
        update(grid, 3, 500, 100, ratio: 0.5, &random).checkBack("several panels")
        update(grid, 2, 130, 300, ratio: 0.5, &random).checkBack("one strip for each panel")
    }

    @Test(arguments: [Grid.bf16, .f16]) func backAtExtremeScales(grid: Grid) {
        var random = Random("backAtExtremeScales")
        for exponent in stride(from: -150, through: 130, by: 20) {
            let scale = scalbn(1, exponent)
            update(grid, 3, 83, 5, ratio: 1, scale: scale, &random).checkBack("2^\(exponent)")
            var unbalanced = update(grid, 3, 70, 4, ratio: 0.3, scale: scale, &random)
            unbalanced.left = unbalanced.left.map { $0 * 0x1p-40 }
            unbalanced.right = unbalanced.right.map { $0 * 0x1p40 }
            unbalanced.checkBack("2^\(exponent), unbalanced")
        }
    }

    /// Weights of any bits, factors that are no numbers, sums that overflow on the way there or back.
    @Test(arguments: [Grid.bf16, .f16]) func backOfNonfiniteNumbers(grid: Grid) {
        var random = Random("backOfNonfiniteNumbers")
        for poison in [Float.nan, .infinity, -.infinity, 3e38, 0] {
            var one = update(grid, 5, 83, 6, ratio: 0.5, &random)
            for at in one.weights.indices where at % 3 == 0 {
                one.weights[at] = Int.random(in: 0...65535, using: &random)
            }
            one.checkBack("weights")
            one.right[17] = poison
            one.checkBack("right \(poison)")
            one.left[9] = Double(poison)
            one.checkBack("left \(poison)")
            one.left[9] = 1e300
            one.checkBack("left 1e300")
        }
        for edge in [grid.largest, grid.largest - 1, grid.infinity, grid.nan] {
            let scale = grid.values[grid.largest] * 0x1p-10
            var one = update(grid, 5, 90, 3, ratio: 1, scale: scale, &random)
            one.weights = one.weights.map { ($0 & grid.signBit) | edge }
            one.checkBack("overflow")
        }
    }

    /// M - D within a hair of a midpoint: only float64 tells the side.
    @Test(arguments: [Grid.bf16, .f16]) func backDecidesNearTies(grid: Grid) {
        var random = Random("backDecidesNearTies")
        let one = grid.round(1).bits
        let half = (grid.values[one + 1] - 1) / 2
        for nudge in [0, 0x1p-40, -0x1p-40, 0x1p-30, -0x1p-30] {
            // D is half a unit of the last place, so that W + D is a tie, and M - D is one again.
            var ties = update(grid, 4, 130, 2, ratio: 1, scale: 1, &random)
            for j in 0..<130 {
                (ties.right[j], ties.right[130 + j]) = (1, Float(j - 65))
                for i in 0..<4 { ties.weights[i * 130 + j] = one + i }
            }
            for i in 0..<4 { (ties.left[2 * i], ties.left[2 * i + 1]) = (half, nudge * 0x1p-7) }
            ties.checkBack("ties \(nudge)")
        }
        for _ in 0..<3 {
            var cancel = update(grid, 4, 130, 16, ratio: 1, &random)
            cancel.weights = product(cancel.left, cancel.right.map { Double($0) }, 4, 16, 130).map {
                grid.round(-$0).bits
            }
            cancel.checkBack("cancellation")
        }
    }
}
