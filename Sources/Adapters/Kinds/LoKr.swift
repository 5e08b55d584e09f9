import Problems
import Safetensors

/// LoKr: D = w1 ⊗ w2, where each may be a product of two factors.
///
/// w1 (a × c) or w1_a (a × r) · w1_b (r × c); w2 (b × d × kernel...) or w2_a (b × r) · w2_b (r × d·kernel), or with
/// lokr_t2 (r × r × kernel...) a product with a middle. D[i·b + p, j·d + q, k] = w1[i, j] · w2[p, q, k]
/// (`lycoris/modules/lokr.py`, PEFT `tuners/lokr/layer.py`).
struct LoKrDelta: RowDelta {
    /// What its tensors are called.
    static let parts: Set<String> = [
        "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2",
    ]

    /// One side of the product.
    private enum Side {
        case full(TensorInfo, rows: Int, columns: Int)
        case pair(FactorPair)

        var rows: Int {
            switch self {
            case .full(_, let rows, _): rows
            case .pair(let pair): pair.rows
            }
        }
        var columns: Int {
            switch self {
            case .full(_, _, let columns): columns
            case .pair(let pair): pair.columns
            }
        }
        /// The rank that alpha is divided by.
        var rank: Int? { if case .pair(let pair) = self { pair.b.shape[0] } else { nil } }
        /// The smallest rank of factors of it that need no decomposition.
        var least: Int {
            let size = min(rows, columns)
            if case .pair(let pair) = self { return min(pair.rank, size) }
            return size
        }

        init(_ parts: ModuleParts, _ name: String, middle: String) throws(Problem) {
            guard let whole = parts[name] else {
                self = .pair(try FactorPair(parts, a: name + "_a", b: name + "_b", middle: middle))
                return
            }
            if let other = parts[name + "_a"] ?? parts[name + "_b"] ?? parts[middle] {
                throw Problem(
                    .incompatible, "mixed-factors", file: parts.file, tensor: other.name,
                    "stands beside '\(whole.name)', which is the same part as a whole",
                    hint: "a part is stored as a whole or as two factors, not both")
            }
            _ = try parts.need(name, dimensions: 2...5)
            self = .full(whole, rows: whole.shape[0], columns: whole.shape.dropFirst().reduce(1, *))
        }

        func load(_ read: ValueReader) throws(Problem) -> [Double] {
            switch self {
            case .full(let tensor, _, _): return try read(tensor)
            case .pair(let pair):
                let (left, right) = try pair.load(read)
                return DenseMatrix.product(
                    left, right, rows: pair.rows, inner: pair.rank, columns: pair.columns)
            }
        }

        /// Two factors of rank `least`.
        func factors(_ read: ValueReader) throws(Problem) -> (left: [Double], right: [Double]) {
            if case .pair(let pair) = self, pair.rank == least { return try pair.load(read) }
            let whole = try load(read)
            return rows <= columns ? (DenseMatrix.identity(rows), whole) : (whole, DenseMatrix.identity(columns))
        }
    }

    private let first: Side
    private let second: Side
    /// Whether w1 is padded in front instead of behind: PEFT 0.21 does so in a `Conv1d` whose w2 is whole, and trains it so.
    private let isPaddedInFront: Bool
    let shape: (rows: Int, columns: Int)
    /// The rank that alpha is divided by; `nil` where both sides are whole.
    let rank: Int?

    /// - Parameter isPEFT: whether PEFT made it, whose `Conv1d` differs.
    init(_ parts: ModuleParts, isPEFT: Bool = false) throws(Problem) {
        first = try Side(parts, "lokr_w1", middle: "lokr_t1")
        second = try Side(parts, "lokr_w2", middle: "lokr_t2")
        isPaddedInFront = isPEFT && parts["lokr_w2"]?.shape.count == 3
        guard let tensor = parts.all.first else { preconditionFailure("a module has parts") }
        shape = (
            try parts.size(first.rows, second.rows, of: tensor),
            try parts.size(first.columns, second.columns, of: tensor)
        )
        if let one = first.rank, let two = second.rank, one != two, let wrong = parts["lokr_w2_b"] {
            throw parts.bad(wrong, "\(wrong.shape) has rank \(two), but the other half has rank \(one)")
        }
        rank = second.rank ?? first.rank
    }

    func load(_ read: ValueReader) throws(Problem) -> any LoadedDelta {
        Loaded(
            first: try first.load(read), second: try second.load(read), shape: shape,
            outer: (first.rows, first.columns), inner: (second.rows, second.columns),
            isPaddedInFront: isPaddedInFront ? kernel : nil)
    }

    private var kernel: Int? { if case .full(let tensor, _, _) = second { tensor.shape.last } else { nil } }

    /// (w1_a ⊗ w2_a) · (w1_b ⊗ w2_b), where what is whole has the unit matrix beside it: ranks multiply.
    func factors(_ read: ValueReader) throws(Problem) -> DeltaFactors? {
        let (r1, r2) = (first.least, second.least)
        let (rank, overflow) = r1.multipliedReportingOverflow(by: r2)
        guard !overflow, isWorth(rank), !isPaddedInFront else { return nil }
        let (a, b) = (try first.factors(read), try second.factors(read))
        return DeltaFactors(
            left: DenseMatrix.kronecker(a.left, first.rows, r1, b.left, second.rows, r2),
            right: DenseMatrix.kronecker(a.right, r1, first.columns, b.right, r2, second.columns), rank: rank)
    }

    private struct Loaded: LoadedDelta {
        let first: [Double]
        let second: [Double]
        let shape: (rows: Int, columns: Int)
        let outer: (rows: Int, columns: Int)
        let inner: (rows: Int, columns: Int)
        /// The kernel's size, if w1 is padded in front.
        let isPaddedInFront: Int?

        func add(_ rows: Range<Int>, times scale: Double, to target: inout [Double]) {
            if let kernel = isPaddedInFront { return addPadded(rows, kernel, scale, &target) }
            var at = 0
            for row in rows {
                let (i, p) = (row / inner.rows, row % inner.rows)
                for j in 0..<outer.columns {
                    let factor = scale * first[i * outer.columns + j]
                    for q in 0..<inner.columns {
                        target[at] += factor * second[p * inner.columns + q]
                        at += 1
                    }
                }
            }
        }

        /// Elements of (b × a·d × c·k), read on as (a·b × c·d·k).
        private func addPadded(_ rows: Range<Int>, _ kernel: Int, _ scale: Double, _ target: inout [Double]) {
            let (width, depth) = (outer.columns * kernel, inner.columns / kernel)
            for at in target.indices {
                let element = rows.lowerBound * shape.columns + at
                let (line, column) = (element / width, element % width)
                let (p, row) = (line / (outer.rows * depth), line % (outer.rows * depth))
                let (i, q) = (row / depth, row % depth)
                let (j, k) = (column / kernel, column % kernel)
                target[at] += scale * first[i * outer.columns + j] * second[(p * depth + q) * kernel + k]
            }
        }
    }
}
