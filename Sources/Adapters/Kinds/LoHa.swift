import Problems
import Safetensors

/// LoHa: D = (w1_a · w1_b) ∘ (w2_a · w2_b), the product of two low-rank matrices element by element.
///
/// w_a (out × r), w_b (r × in·kernel); with hada_t (r × r × kernel...) each product has a middle, and w_a is (r × out)
/// (`lycoris/modules/loha.py`, PEFT `tuners/loha/layer.py`).
struct LoHaDelta: RowDelta {
    /// What its tensors are called.
    static let parts: Set<String> = ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"]

    let first: FactorPair
    let second: FactorPair

    var shape: (rows: Int, columns: Int) { (first.rows, first.columns) }
    /// The rank that alpha is divided by.
    var rank: Int { first.b.shape[0] }

    init(_ parts: ModuleParts) throws(Problem) {
        first = try FactorPair(parts, a: "hada_w1_a", b: "hada_w1_b", middle: "hada_t1")
        second = try FactorPair(parts, a: "hada_w2_a", b: "hada_w2_b", middle: "hada_t2")
        guard first.rows == second.rows, first.columns == second.columns else {
            throw parts.bad(
                second.a,
                "makes a matrix of \(second.rows) × \(second.columns), but the other half one of "
                    + "\(first.rows) × \(first.columns)")
        }
    }

    func load(_ read: ValueReader) throws(Problem) -> any LoadedDelta {
        Loaded(
            a: try first.load(read), b: try second.load(read), ranks: (first.rank, second.rank), columns: shape.columns)
    }

    /// Row-wise and column-wise Khatri-Rao products: the rank is r1 · r2.
    func factors(_ read: ValueReader) throws(Problem) -> DeltaFactors? {
        let (rank, overflow) = first.rank.multipliedReportingOverflow(by: second.rank)
        guard !overflow, isWorth(rank) else { return nil }
        let (a, b) = (try first.load(read), try second.load(read))
        var left = [Double](repeating: 0, count: shape.rows * rank)
        var right = [Double](repeating: 0, count: rank * shape.columns)
        for i in 0..<first.rank {
            for j in 0..<second.rank {
                let k = i * second.rank + j
                for row in 0..<shape.rows {
                    left[row * rank + k] = a.left[row * first.rank + i] * b.left[row * second.rank + j]
                }
                for column in 0..<shape.columns {
                    right[k * shape.columns + column] =
                        a.right[i * shape.columns + column] * b.right[j * shape.columns + column]
                }
            }
        }
        return DeltaFactors(left: left, right: right, rank: rank)
    }

    private struct Loaded: LoadedDelta {
        let a: (left: [Double], right: [Double])
        let b: (left: [Double], right: [Double])
        let ranks: (first: Int, second: Int)
        let columns: Int

        func add(_ rows: Range<Int>, times scale: Double, to target: inout [Double]) {
            let one = part(a, ranks.first, rows)
            let two = part(b, ranks.second, rows)
            for at in target.indices { target[at] += scale * (one[at] * two[at]) }
        }

        private func part(_ pair: (left: [Double], right: [Double]), _ rank: Int, _ rows: Range<Int>) -> [Double] {
            let left = Array(pair.left[rows.lowerBound * rank..<rows.upperBound * rank])
            return DenseMatrix.product(left, pair.right, rows: rows.count, inner: rank, columns: columns)
        }
    }
}
