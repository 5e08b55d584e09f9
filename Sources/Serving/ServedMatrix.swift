import Problems
import Tensors

/// W' = diag(f) (W + D₁) diag(g) + D₂: one matrix under its adapters, in the orientation that the file has it in.
///
/// f or g is DoRA's m / ‖W + D₁‖ over rows or columns, and D₁ the delta of the adapter that it belongs to; without DoRA both
/// are one and D₁ is empty. D₂ is the sum of the others, in the order in which they were attached.
struct ServedMatrix: Sendable {
    let weight: ServedWeight
    let terms: [ServedTerm]
    /// f, one for each row.
    var rowFactors: [Double]?
    /// g, one for each column.
    var columnFactors: [Double]?
    let threads: Int

    var rows: Int { weight.rows }
    var columns: Int { weight.columns }

    /// Pieces for each thread, so that one that has to wait holds up little.
    private static let piecesEach = 4
    /// Multiplications of a piece below which handing it to another thread costs more than it gains.
    private static let threadWork = 1 << 15

    /// x · W'ᵀ (count × rows); `x` is count × columns.
    func products(_ x: [Double], count: Int) -> [Double] {
        let inner = columnFactors.map { Self.scaled(x, by: $0) } ?? x
        let downs = terms.map { $0.down($0.isDoRA ? inner : x, count: count) }
        return divided(rows, count) { [self] range in
            var out = weight.products(range, inner, count: count)
            for (term, t) in zip(terms, downs) where term.isDoRA { term.addUp(range, t, count: count, to: &out) }
            if let f = rowFactors { out = Self.scaled(out, by: Array(f[range])) }
            for (term, t) in zip(terms, downs) where !term.isDoRA { term.addUp(range, t, count: count, to: &out) }
            return out
        }
    }

    /// x · W' (count × columns); `x` is count × rows.
    func combination(_ x: [Double], count: Int) -> [Double] {
        let inner = rowFactors.map { Self.scaled(x, by: $0) } ?? x
        let downs = terms.map { $0.transposedDown($0.isDoRA ? inner : x, count: count) }
        return divided(columns, count) { [self] range in
            var out = weight.combination(inner, count: count, columns: range)
            for (term, t) in zip(terms, downs) where term.isDoRA {
                term.addTransposedUp(range, t, count: count, to: &out)
            }
            if let g = columnFactors { out = Self.scaled(out, by: Array(g[range])) }
            for (term, t) in zip(terms, downs) where !term.isDoRA {
                term.addTransposedUp(range, t, count: count, to: &out)
            }
            return out
        }
    }

    /// Rows of W' (list × columns).
    func values(_ list: [Int]) -> [Double] {
        var out = [Double](repeating: 0, count: list.count * columns)
        for (at, row) in list.enumerated() { weight.widen(row, 0..<columns, into: &out, at: at * columns) }
        for term in terms where term.isDoRA { term.addRows(list, to: &out) }
        if let f = rowFactors {
            for (at, row) in list.enumerated() {
                for column in 0..<columns { out[at * columns + column] *= f[row] }
            }
        }
        if let g = columnFactors { out = Self.scaled(out, by: g) }
        for term in terms where !term.isDoRA { term.addRows(list, to: &out) }
        return out
    }

    /// Each row of `values` times `factors`, element by element.
    private static func scaled(_ values: [Double], by factors: [Double]) -> [Double] {
        var result = values
        var target = result.mutableSpan
        let factor = factors.span
        var at = 0
        while at < target.count {
            for column in 0..<factor.count { target[at + column] *= factor[column] }
            at += factor.count
        }
        return result
    }

    /// Lets threads compute parts of `width` columns, each (count × part), and puts them side by side.
    ///
    /// Each element is computed by one thread alone, so their number does not show in the result.
    private func divided(_ width: Int, _ count: Int, _ compute: @escaping @Sendable (Range<Int>) -> [Double])
        -> [Double]
    {
        let work = max(1, rows) * max(1, columns) * max(1, count)
        let most = threads == 1 ? 1 : min(threads * Self.piecesEach, Team.largest - 1)
        let parts = max(1, min(most, work / Self.threadWork, width / 16))
        if parts == 1 { return compute(0..<width) }
        let bounds = (0...parts).map { width * $0 / parts }
        let results = Parts(count: parts)
        Team.shared.run(parts, threads: threads) { part in results.set(part, compute(bounds[part]..<bounds[part + 1])) }
        return results.joined(width: width, count: count, bounds: bounds)
    }
}
