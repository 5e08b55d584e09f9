import Files

extension SingularValues {
    /// σ_k and v_k of a matrix D of which only the Gram matrix DᵀD is known (its rows are `gram`).
    ///
    /// With DᵀD = Rᵀ·R (Cholesky), R has D's singular values and right vectors. Squares keep half of the digits: values below
    /// 10⁻⁸ of the largest are lost.
    static func ofGram(_ gram: Vectors) -> (values: [Double], vectors: Vectors) {
        var triangle = cholesky(gram)
        var none = Vectors(count: triangle.count, length: 0)
        rotate(&triangle, &none, tolerance: 1e-9)
        let lengths = (0..<triangle.count).map { triangle.dot($0, $0).squareRoot() }
        let order = (0..<triangle.count).sorted { (lengths[$0], $1) > (lengths[$1], $0) }
        var vectors = triangle.selecting(order)
        let values = order.map { lengths[$0] }
        for (index, value) in values.enumerated() where value > 0 { vectors.scale(index, by: 1 / value) }
        return (values, vectors)
    }

    /// R, upper triangular but for the order of its columns, with Rᵀ·R = `gram`; what rounding leaves below zero is zero.
    private static func cholesky(_ gram: Vectors) -> Vectors {
        let size = gram.count
        var rest = gram
        let noise = 1e-14 * (0..<size).reduce(0) { max($0, gram[$1, $1]) }
        for k in 0..<size {
            let pivot = rest[k, k]
            guard pivot > noise else {
                rest.scale(k, by: 0)
                continue
            }
            for j in 0..<k { rest[k, j] = 0 }
            rest.scale(k, by: 1 / pivot.squareRoot())
            for i in (k + 1)..<max(size, k + 1) where rest[k, i] != 0 { rest.add(-rest[k, i], k, to: i) }
        }
        return rest
    }
}

/// Best approximations of high rank of a large matrix, by the Gram matrix of its smaller side: of the matrix itself only blocks
/// are ever in memory.
struct GramApproximation<Source: RowBlocks> {
    private var source: Source
    private let passed: () -> Void

    init(_ source: Source, passed: @escaping () -> Void) {
        self.source = source
        self.passed = passed
    }

    /// The best approximation that `truncation` allows.
    mutating func run(_ truncation: Truncation) throws -> Approximation {
        let isTall = source.rows >= source.columns
        let gram = try isTall ? gramOfColumns() : gramOfRows()
        passed()
        let squaredNorm = (0..<gram.count).reduce(0) { $0 + gram[$1, $1] }
        let (values, vectors) = SingularValues.ofGram(gram)
        let count = truncation.count(of: values)
        var short = vectors.selecting(Array(0..<count))
        // σ_k times the vectors of the other side; each side gets its root.
        var long = try isTall ? images(short) : parts(short)
        passed()
        for index in 0..<count {
            let root = values[index].squareRoot()
            short.scale(index, by: root)
            long.scale(index, by: 1 / root)
        }
        let factors = isTall ? LowRank(left: long, right: short) : LowRank(left: short, right: long)
        return Approximation(factors: factors, values: values, squaredNorm: squaredNorm)
    }

    private mutating func gramOfColumns() throws -> Vectors {
        let columns = source.columns
        var gram = Vectors(count: columns, length: columns)
        try source.forEachBlock { range, block in
            let rows = Strided(block, rows: range.count, columns: columns)
            Strided.addProduct(rows.transposed, rows, to: &gram.values)
        }
        return gram
    }

    /// Each pair of larger blocks is in memory once.
    private mutating func gramOfRows() throws -> Vectors {
        let (rows, columns) = (source.rows, source.columns)
        let step = max(16, (1 << 22) / max(1, columns))
        var gram = Vectors(count: rows, length: rows)
        var (upper, lower) = ([Double](repeating: 0, count: step * columns), [Double]())
        for top in stride(from: 0, to: rows, by: step) {
            let own = top..<min(rows, top + step)
            try source.read(own, to: &upper)
            for left in stride(from: top, to: rows, by: step) {
                try checkInterrupted()
                let other = left..<min(rows, left + step)
                lower = upper
                if left > top { try source.read(other, to: &lower) }
                Strided.addProduct(
                    Strided(upper, rows: own.count, columns: columns),
                    Strided(lower, rows: other.count, columns: columns).transposed, to: &gram.values,
                    start: top * rows + left, stride: rows)
            }
        }
        for i in 0..<rows {
            for j in 0..<i { gram[i, j] = gram[j, i] }
        }
        return gram
    }

    /// D·v for each vector.
    private mutating func images(_ vectors: Vectors) throws -> Vectors {
        let (columns, tall) = (source.columns, vectors.transposed)
        var result = Vectors(count: source.rows, length: vectors.count)
        try source.forEachBlock { range, block in
            Strided.addProduct(
                Strided(block, rows: range.count, columns: columns), Strided(tall), to: &result.values,
                start: range.lowerBound * vectors.count)
        }
        return result.transposed
    }

    /// uᵀ·D for each vector.
    private mutating func parts(_ vectors: Vectors) throws -> Vectors {
        let (columns, tall) = (source.columns, vectors.transposed)
        var result = Vectors(count: vectors.count, length: columns)
        try source.forEachBlock { range, block in
            Strided.addProduct(
                Strided(tall).rows(range).transposed, Strided(block, rows: range.count, columns: columns),
                to: &result.values)
        }
        return result
    }
}
