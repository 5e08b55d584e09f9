/// What is computed with matrices; shapes are checked here, once for all layers.
extension Matrix {
    /// self = factor · op(a) · op(b), or that added to it.
    ///
    /// - Parameters:
    ///   - a: rows × depth, or depth × rows if it is transposed.
    ///   - b: depth × columns, or columns × depth if it is transposed.
    func setProduct(
        _ a: Matrix, _ b: Matrix, transposingA: Bool = false, transposingB: Bool = false, factor: T = 1,
        adding: Bool = false
    ) {
        let depth = transposingA ? a.rows : a.columns
        precondition((transposingA ? a.columns : a.rows) == rows, "a product of other rows")
        precondition((transposingB ? b.rows : b.columns) == columns, "a product of other columns")
        precondition((transposingB ? b.columns : b.rows) == depth, "factors that do not fit")
        guard count > 0 else { return }
        guard depth > 0 else { return adding ? () : fill(0) }
        unsafe T.product(
            rows, columns, depth, factor, a.base, a.stride, transposingA, b.base, b.stride, transposingB,
            adding ? 1 : 0, base, stride)
    }

    /// self = op(a) · b, or that added to it, for matrices that the caches hold.
    ///
    /// - Parameters:
    ///   - a: rows × depth, or depth × rows if it is transposed.
    ///   - b: depth × columns.
    func setSmallProduct(_ a: Matrix, _ b: Matrix, transposingA: Bool = false, adding: Bool = false) {
        precondition((transposingA ? a.columns : a.rows) == rows && b.columns == columns, "a product of other shape")
        precondition((transposingA ? a.rows : a.columns) == b.rows, "factors that do not fit")
        guard count > 0 else { return }
        unsafe T.smallProduct(
            rows, columns, b.rows, a.base, transposingA ? 1 : a.stride, transposingA ? a.stride : 1, b.base, b.stride,
            adding, base, stride)
    }

    /// self = otherᵀ.
    func setTransposed(_ other: Matrix) {
        precondition(rows == other.columns && columns == other.rows, "a matrix of another shape")
        guard count > 0 else { return }
        unsafe T.transpose(other.rows, other.columns, other.base, other.stride, base, stride)
    }

    /// Calls `body` for each run of elements that lie side by side in `self` and all of `others`.
    private func eachRun(_ others: [Matrix] = [], _ body: (Int, Int) -> Void) {
        precondition(others.allSatisfy { $0.rows == rows && $0.columns == columns }, "matrices of other shapes")
        if isContiguous, others.allSatisfy(\.isContiguous) { return body(0, count) }
        for row in 0..<rows { body(row, columns) }
    }

    /// self = value.
    func fill(_ value: T) {
        eachRun { row, n in
            guard n > 0 else { return }
            unsafe self.row(row).update(repeating: value, count: n)
        }
    }

    /// self = values, row by row.
    func set(_ values: [Float]) {
        precondition(values.count == count, "values of another shape")
        for row in 0..<rows {
            let to = unsafe self.row(row)
            for column in 0..<columns { unsafe to[column] = T(values[row * columns + column]) }
        }
    }

    /// self = other.
    func copy(_ other: Matrix) {
        eachRun([other]) { row, n in
            guard n > 0 else { return }
            unsafe self.row(row).update(from: other.row(row), count: n)
        }
    }

    /// self += factor · other.
    func add(_ other: Matrix, factor: T = 1) {
        eachRun([other]) { row, n in
            guard n > 0 else { return }
            unsafe T.add(factor, other.row(row), self.row(row), n)
        }
    }

    /// self *= factor.
    func scale(_ factor: T) {
        eachRun { row, n in
            guard n > 0 else { return }
            let start = unsafe self.row(row)
            for at in 0..<n { unsafe start[at] *= factor }
        }
    }

    /// Adds `vector` (1 × columns) to each row.
    func addToRows(_ vector: Matrix) {
        precondition(vector.rows == 1 && vector.columns == columns, "a vector of another length")
        for row in 0..<rows { unsafe T.add(1, vector.base, self.row(row), columns) }
    }

    /// Adds the sum of the rows of `other` to self (1 × columns).
    func addSumOfRows(_ other: Matrix) {
        precondition(rows == 1 && other.columns == columns, "a vector of another length")
        for row in 0..<other.rows { unsafe T.add(1, other.row(row), base, columns) }
    }

    /// self = other, each column multiplied by its element of `factors` (1 × columns).
    func setScaledColumns(_ other: Matrix, _ factors: Matrix) {
        precondition(other.rows == rows && other.columns == columns && factors.columns == columns, "other shapes")
        guard let f = unsafe factors.rows > 0 ? factors.base : nil else { return }
        for row in 0..<rows {
            let (to, from) = unsafe (self.row(row), other.row(row))
            for column in 0..<columns { unsafe to[column] = from[column] * f[column] }
        }
    }

    /// Adds Σ over rows of a · b to self (1 × columns), column by column.
    func addSumOfProducts(_ a: Matrix, _ b: Matrix) {
        precondition(rows == 1 && a.columns == columns && b.columns == columns && a.rows == b.rows, "other shapes")
        for row in 0..<a.rows {
            let (x, y, sum) = unsafe (a.row(row), b.row(row), base)
            for column in 0..<columns { unsafe sum[column] += x[column] * y[column] }
        }
    }

    /// Σ of all squares, in float64.
    var sumOfSquares: Double {
        var sum = 0.0
        eachRun { row, n in
            var done = 0
            // Pieces, so that a float32 sum never has many addends.
            while done < n {
                let piece = min(4096, n - done)
                let from = unsafe self.row(row) + done
                unsafe sum += Double(T.dot(from, from, piece))
                done += piece
            }
        }
        return sum
    }
}
