import Adapters
import Problems

/// The factors of a term in memory, one pair for each batch: L (rows × rank) and R (rank × columns).
final class HeldFactors: Sendable {
    let left: [HeldMatrix]
    let right: [HeldMatrix]

    /// - Parameter read: the bytes of an adapter's tensor.
    init(_ term: LowRankTerm, _ read: (Factor) throws(Problem) -> [UInt8]) throws(Problem) {
        let (l, r) = (try read(term.left), try read(term.right))
        let batches = 0..<term.view.batches
        left = try batches.map { (batch) throws(Problem) in
            try HeldMatrix(l, term.left, batch: batch, rows: term.view.rows, columns: term.rank)
        }
        right = try batches.map { (batch) throws(Problem) in
            try HeldMatrix(r, term.right, batch: batch, rows: term.rank, columns: term.view.columns)
        }
    }
}

/// factor · L · R of one matrix.
struct ServedTerm: Sendable {
    let left: HeldMatrix
    let right: HeldMatrix
    /// The adapter's weight times its scale.
    let factor: Double
    /// Whether DoRA's magnitude is over it.
    let isDoRA: Bool

    var rank: Int { right.rows }

    /// x · (L R)ᵀ begins with x · Rᵀ (count × rank), which all rows of L share; `x` is count × columns.
    func down(_ x: [Double], count: Int) -> [Double] { right.products(0..<rank, x, count: count) }

    /// out (count × range) += factor · (t · Lᵀ) for some rows of L; `t` is count × rank.
    func addUp(_ range: Range<Int>, _ t: [Double], count: Int, to out: inout [Double]) {
        add(left.products(range, t, count: count), to: &out)
    }

    /// x · L (count × rank): the same for the transposed product; `x` is count × rows.
    func transposedDown(_ x: [Double], count: Int) -> [Double] {
        var out = [Double](repeating: 0, count: count * rank)
        let height = max(1, ServedWeight.blockElements / max(1, rank))
        for first in stride(from: 0, to: left.rows, by: height) {
            let part = first..<min(left.rows, first + height)
            HeldMatrix.addCombination(
                x, stride: left.rows, from: first, count: count, left.values(part), depth: part.count, width: rank,
                to: &out)
        }
        return out
    }

    /// out (count × range) += factor · (t · R) for some columns of R; `t` is count × rank.
    func addTransposedUp(_ range: Range<Int>, _ t: [Double], count: Int, to out: inout [Double]) {
        var block = [Double](repeating: 0, count: rank * range.count)
        for k in 0..<rank { right.widen(k, range, into: &block, at: k * range.count) }
        var sums = [Double](repeating: 0, count: count * range.count)
        HeldMatrix.addCombination(
            t, stride: rank, from: 0, count: count, block, depth: rank, width: range.count, to: &sums)
        add(sums, to: &out)
    }

    /// out (list × columns) += factor · L[list] · R.
    func addRows(_ list: [Int], to out: inout [Double]) {
        var picked = [Double](repeating: 0, count: list.count * rank)
        for (at, row) in list.enumerated() { left.widen(row, 0..<rank, into: &picked, at: at * rank) }
        addTransposedUp(0..<right.columns, picked, count: list.count, to: &out)
    }

    private func add(_ sums: [Double], to out: inout [Double]) {
        let source = sums.span
        var target = out.mutableSpan
        for at in 0..<source.count { target[at] += factor * source[at] }
    }
}
