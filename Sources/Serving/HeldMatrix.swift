import Adapters
import CKernels
import Problems
import Safetensors
import Tensors

/// A matrix in memory (rows × columns), in the dtype that its file has it in; the elements of a row lie side by side.
///
/// Sums are those of the kernels, in float64 and in an order that depends on the matrix alone.
struct HeldMatrix: Sendable {
    let rows: Int
    let columns: Int
    private let bytes: [UInt8]
    private let kernel: ak_dtype
    private let size: Int
    /// The first element, and from one row to the next, in elements.
    private let offset: Int
    private let rowStride: Int

    /// A matrix in `bytes`, which are shared and not copied.
    init(
        _ bytes: [UInt8], _ dtype: DType, offset: Int = 0, rowStride: Int? = nil, rows: Int, columns: Int
    ) throws(Problem) {
        guard let kernel = dtype.kernel else {
            throw Problem(.incompatible, "bad-dtype", "is \(dtype.rawValue), and no floating-point numbers")
        }
        self.bytes = bytes
        self.kernel = kernel
        self.rows = rows
        self.columns = columns
        self.offset = offset
        self.rowStride = rowStride ?? columns
        size = dtype.bits / 8
        let isEmpty = rows == 0 || columns == 0
        precondition(
            isEmpty || (offset + (rows - 1) * self.rowStride + columns) * size <= bytes.count,
            "a matrix beyond its bytes")
    }

    /// One batch of a factor: shared where its rows are contiguous, else gathered.
    init(_ bytes: [UInt8], _ factor: Factor, batch: Int, rows: Int, columns: Int) throws(Problem) {
        let start = factor.offset + batch * factor.batchStride
        let dtype = factor.tensor.dtype
        if factor.columnStride == 1 {
            try self.init(bytes, dtype, offset: start, rowStride: factor.rowStride, rows: rows, columns: columns)
            return
        }
        let size = dtype.bits / 8
        var gathered = [UInt8](repeating: 0, count: rows * columns * size)
        do {
            let source = bytes.span
            var target = gathered.mutableSpan
            var to = 0
            for row in 0..<rows {
                for column in 0..<columns {
                    let from = (start + row * factor.rowStride + column * factor.columnStride) * size
                    for byte in 0..<size { target[to + byte] = source[from + byte] }
                    to += size
                }
            }
        }
        try self.init(gathered, dtype, rows: rows, columns: columns)
    }

    /// x · rowsᵀ (count × range): the products of the rows in `range` with each of the `count` vectors in `x`.
    func products(_ range: Range<Int>, _ x: [Double], count: Int) -> [Double] {
        precondition(x.count == count * columns && range.upperBound <= rows, "vectors that do not fit the matrix")
        var out = [Double](repeating: 0, count: count * range.count)
        let first = (offset + range.lowerBound * rowStride) * size
        unsafe bytes.withUnsafeBytes { all in
            guard let start = all.baseAddress, !out.isEmpty else { return }
            unsafe ak_apply_f64(
                kernel, start + first, rowStride, range.count, columns, x, columns, count, &out, range.count)
        }
        return out
    }

    /// The same for rows that were widened before: `block` (rows × columns).
    static func products(_ block: [Double], rows: Int, columns: Int, _ x: [Double], count: Int) -> [Double] {
        precondition(block.count >= rows * columns && x.count == count * columns, "vectors that do not fit the matrix")
        var out = [Double](repeating: 0, count: count * rows)
        unsafe ak_apply_f64(AK_F64, block, columns, rows, columns, x, columns, count, &out, rows)
        return out
    }

    /// `out` (count × width) += x[:, from ..< from + depth] · block: in the order of the block's rows.
    ///
    /// - Parameters:
    ///   - x: vectors (count × stride).
    ///   - block: depth × width.
    static func addCombination(
        _ x: [Double], stride: Int, from: Int, count: Int, _ block: [Double], depth: Int, width: Int,
        to out: inout [Double]
    ) {
        guard count > 0, depth > 0, width > 0 else { return }
        precondition(x.count >= (count - 1) * stride + from + depth, "vectors that do not fit the matrix")
        precondition(block.count >= depth * width && out.count == count * width, "a product beyond its elements")
        unsafe x.withUnsafeBufferPointer { vectors in
            guard let start = vectors.baseAddress else { return }
            unsafe ak_product_f64(
                count, width, depth, start + from, stride, 1, block, width, 1, &out, width)
        }
    }

    /// Writes some columns of one row into `target` from `at` on, exactly.
    func widen(_ row: Int, _ range: Range<Int>, into target: inout [Double], at: Int) {
        precondition(row < rows && range.upperBound <= columns && at + range.count <= target.count, "beyond the matrix")
        let first = (offset + row * rowStride + range.lowerBound) * size
        unsafe bytes.withUnsafeBytes { all in
            unsafe target.withUnsafeMutableBufferPointer { out in
                guard let start = all.baseAddress, let to = out.baseAddress else { return }
                unsafe ak_widen_f64(kernel, start + first, to + at, range.count)
            }
        }
    }

    /// Some rows as float64.
    func values(_ range: Range<Int>) -> [Double] {
        var result = [Double](repeating: 0, count: range.count * columns)
        for (at, row) in range.enumerated() { widen(row, 0..<columns, into: &result, at: at * columns) }
        return result
    }

    /// Σ (W + delta)² of each row in `range`; `delta` (range × columns).
    func rowSquares(_ range: Range<Int>, plus delta: [Double]) -> [Double] {
        precondition(delta.count == range.count * columns && range.upperBound <= rows, "a delta of another shape")
        var sums = [Double](repeating: 0, count: range.count)
        let first = (offset + range.lowerBound * rowStride) * size
        unsafe bytes.withUnsafeBytes { all in
            guard let start = all.baseAddress else { return }
            unsafe ak_row_sumsq(
                kernel, start + first, rowStride, range.count, columns, delta, columns, 1, &sums)
        }
        return sums
    }

    /// Adds (W + delta)² of the rows in `range` to `sums`, one for each column.
    func addColumnSquares(_ range: Range<Int>, plus delta: [Double], to sums: inout [Double]) {
        precondition(delta.count == range.count * columns && range.upperBound <= rows, "a delta of another shape")
        precondition(sums.count == columns, "one sum for each column")
        let first = (offset + range.lowerBound * rowStride) * size
        unsafe bytes.withUnsafeBytes { all in
            guard let start = all.baseAddress else { return }
            unsafe ak_col_sumsq(
                kernel, start + first, rowStride, range.count, columns, delta, columns, 1, &sums)
        }
    }

    /// How many elements of `bytes` are NaN or infinite.
    static func nonFinite(_ bytes: [UInt8], _ dtype: DType) -> Int {
        guard let kernel = dtype.kernel else { return 0 }
        return unsafe bytes.withUnsafeBytes { unsafe ak_nonfinite(kernel, $0.baseAddress, $0.count / (dtype.bits / 8)) }
    }
}
