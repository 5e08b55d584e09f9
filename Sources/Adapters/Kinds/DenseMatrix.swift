import CKernels

/// Small dense algebra in float64 on row-major arrays.
enum DenseMatrix {
    /// left (rows × inner) · right (inner × columns).
    static func product(_ left: [Double], _ right: [Double], rows: Int, inner: Int, columns: Int) -> [Double] {
        guard rows > 0, columns > 0 else { return [] }
        var result = [Double](repeating: 0, count: rows * columns)
        if inner > 0 { unsafe ak_delta_f64(right, left, rows, inner, columns, &result) }
        return result
    }

    /// The transpose of `matrix` (rows × columns).
    static func transposed(_ matrix: [Double], rows: Int, columns: Int) -> [Double] {
        var result = [Double](repeating: 0, count: matrix.count)
        for row in 0..<rows {
            for column in 0..<columns { result[column * rows + row] = matrix[row * columns + column] }
        }
        return result
    }

    /// The unit matrix.
    static func identity(_ size: Int) -> [Double] {
        var result = [Double](repeating: 0, count: size * size)
        for at in 0..<size { result[at * size + at] = 1 }
        return result
    }

    /// The Kronecker product of a (m × n) and b (p × q): (m·p × n·q).
    static func kronecker(_ a: [Double], _ m: Int, _ n: Int, _ b: [Double], _ p: Int, _ q: Int) -> [Double] {
        var result = [Double](repeating: 0, count: m * p * n * q)
        for i in 0..<m {
            for row in 0..<p {
                let start = (i * p + row) * n * q
                for j in 0..<n { for k in 0..<q { result[start + j * q + k] = a[i * n + j] * b[row * q + k] } }
            }
        }
        return result
    }

    /// X with `matrix` · X = `right`, both (size × size), by elimination with row exchanges.
    ///
    /// The matrices here are I ± Q with a skew Q, which always have an inverse.
    static func solve(_ matrix: [Double], _ right: [Double], size: Int) -> [Double] {
        var (a, x) = (matrix, right)
        for pivot in 0..<size {
            let best = (pivot..<size).max { abs(a[$0 * size + pivot]) < abs(a[$1 * size + pivot]) } ?? pivot
            if best != pivot {
                for column in 0..<size {
                    a.swapAt(best * size + column, pivot * size + column)
                    x.swapAt(best * size + column, pivot * size + column)
                }
            }
            for row in (pivot + 1)..<max(size, pivot + 1) {
                let factor = a[row * size + pivot] / a[pivot * size + pivot]
                if factor == 0 { continue }
                for column in pivot..<size { a[row * size + column] -= factor * a[pivot * size + column] }
                for column in 0..<size { x[row * size + column] -= factor * x[pivot * size + column] }
            }
        }
        for row in (0..<size).reversed() {
            for column in 0..<size {
                var sum = x[row * size + column]
                for k in (row + 1)..<max(size, row + 1) { sum -= a[row * size + k] * x[k * size + column] }
                x[row * size + column] = sum / a[row * size + row]
            }
        }
        return x
    }

    /// (I + sign·Q) · X = I - sign·Q solved for X: the Cayley transform of a skew Q (size × size), a rotation.
    static func cayley(_ q: [Double], size: Int, sign: Double) -> [Double] {
        let unit = identity(size)
        let plus = zip(unit, q).map { $0 + sign * $1 }
        let minus = zip(unit, q).map { $0 - sign * $1 }
        return solve(plus, minus, size: size)
    }
}
