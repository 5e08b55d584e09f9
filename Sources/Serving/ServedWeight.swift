import Problems
import Safetensors

/// The scales of a weight that is stored in 8 bits.
struct BlockScales: Sendable {
    let values: [Double]
    /// How many rows and columns share one scale.
    let rows: Int
    let columns: Int

    /// The scale of one element of a matrix of `width` columns.
    func at(_ row: Int, _ column: Int, width: Int) -> Double {
        values[row / rows * ((width + columns - 1) / columns) + column / columns]
    }
}

/// W as the deltas find it: a matrix of the base or of a replacement, with its scales, and rows that an adapter replaced.
struct ServedWeight: Sendable {
    let matrix: HeldMatrix
    let scales: BlockScales?
    /// New rows, by the row that they take the place of.
    let replaced: [Int: (tokens: HeldMatrix, at: Int)]

    var rows: Int { matrix.rows }
    var columns: Int { matrix.columns }
    private var isPlain: Bool { scales == nil }

    /// Elements of W that are widened at a time where the kernel does not do it.
    static let blockElements = 1 << 16

    /// Writes some columns of one row of W into `target`.
    func widen(_ row: Int, _ range: Range<Int>, into target: inout [Double], at: Int) {
        if let new = replaced[row] { return new.tokens.widen(new.at, range, into: &target, at: at) }
        matrix.widen(row, range, into: &target, at: at)
        guard let scales else { return }
        for (place, column) in range.enumerated() {
            target[at + place] *= scales.at(row, column, width: columns)
        }
    }

    /// x · Wᵀ for the rows in `range` (count × range); `x` is count × columns.
    func products(_ range: Range<Int>, _ x: [Double], count: Int) -> [Double] {
        var out =
            isPlain ? matrix.products(range, x, count: count) : scaledProducts(range, x, count: count)
        for (row, new) in replaced where range.contains(row) {
            let sums = new.tokens.products(new.at..<new.at + 1, x, count: count)
            for i in 0..<count { out[i * range.count + row - range.lowerBound] = sums[i] }
        }
        return out
    }

    private func scaledProducts(_ range: Range<Int>, _ x: [Double], count: Int) -> [Double] {
        var out = [Double](repeating: 0, count: count * range.count)
        let height = max(1, Self.blockElements / max(1, columns))
        var block = [Double](repeating: 0, count: min(height, range.count) * columns)
        for first in stride(from: range.lowerBound, to: range.upperBound, by: height) {
            let part = first..<min(range.upperBound, first + height)
            for (at, row) in part.enumerated() { widen(row, 0..<columns, into: &block, at: at * columns) }
            let sums = HeldMatrix.products(block, rows: part.count, columns: columns, x, count: count)
            for i in 0..<count {
                for j in 0..<part.count {
                    out[i * range.count + first - range.lowerBound + j] = sums[i * part.count + j]
                }
            }
        }
        return out
    }

    /// x · W for some columns (count × columns of them); `x` is count × rows.
    func combination(_ x: [Double], count: Int, columns range: Range<Int>) -> [Double] {
        var out = [Double](repeating: 0, count: count * range.count)
        let height = max(1, Self.blockElements / max(1, range.count))
        var block = [Double](repeating: 0, count: min(height, rows) * range.count)
        for first in stride(from: 0, to: rows, by: height) {
            let part = first..<min(rows, first + height)
            for (at, row) in part.enumerated() { widen(row, range, into: &block, at: at * range.count) }
            HeldMatrix.addCombination(
                x, stride: rows, from: first, count: count, block, depth: part.count, width: range.count, to: &out)
        }
        return out
    }
}
