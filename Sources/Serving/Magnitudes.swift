extension ServedMatrix {
    /// Elements of W + D that are in memory at a time.
    private static let blockElements = 1 << 18

    private func forEachBlock(_ body: (Range<Int>, [Double]) -> Void) {
        let height = max(1, Self.blockElements / max(1, columns))
        for first in stride(from: 0, to: rows, by: height) {
            let range = first..<min(rows, first + height)
            var delta = [Double](repeating: 0, count: range.count * columns)
            for term in terms where term.isDoRA { term.addRows(Array(range), to: &delta) }
            body(range, delta)
        }
    }

    /// Σ (W + D₁)² of each row, block by block.
    func rowSquares() -> [Double] {
        var result: [Double] = []
        result.reserveCapacity(rows)
        forEachBlock { range, delta in
            var squares = weight.matrix.rowSquares(range, plus: delta)
            for (row, new) in weight.replaced where range.contains(row) {
                let at = row - range.lowerBound
                let own = Array(delta[at * columns..<(at + 1) * columns])
                squares[at] = new.tokens.rowSquares(new.at..<new.at + 1, plus: own)[0]
            }
            result += squares
        }
        return result
    }

    /// Σ (W + D₁)² of each column; rows that an adapter replaced count as they were, as in a merge.
    func columnSquares() -> [Double] {
        var sums = [Double](repeating: 0, count: columns)
        forEachBlock { range, delta in weight.matrix.addColumnSquares(range, plus: delta, to: &sums) }
        return sums
    }
}
