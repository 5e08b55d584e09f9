import CKernels
import Safetensors
import Tensors

/// One factor of a delta, read whole in its file's dtype, and widened to float64 piece by piece.
///
/// Its long side is the outputs (B) or the inputs (A), its short side the rank.
package final class FactorReader {
    /// Elements of the long side.
    package let length: Int
    /// Elements of the short side.
    package let rank: Int
    private let bytes: [UInt8]
    private let size: Int
    private let kernel: ak_dtype
    private let factor: Factor
    private let longStride: Int
    private let rankStride: Int
    private var widened: [Double] = []
    private var widenedRange = 0..<0

    /// Reads the factor of `length` × `rank`; for A, whose rows are the ranks, `isTransposed` is true.
    package init?(_ file: SafetensorsFile, _ factor: Factor, length: Int, rank: Int, isTransposed: Bool) throws {
        guard let kernel = factor.tensor.dtype.kernel else { return nil }
        self.kernel = kernel
        self.factor = factor
        self.length = length
        self.rank = rank
        size = factor.tensor.dtype.bits / 8
        longStride = isTransposed ? factor.columnStride : factor.rowStride
        rankStride = isTransposed ? factor.rowStride : factor.columnStride
        bytes = try file.read(factor.tensor)
    }

    /// Whether both read the same bytes in the same way.
    func isSame(as other: FactorReader) -> Bool {
        length == other.length && rank == other.rank && factor.tensor.dtype == other.factor.tensor.dtype
            && longStride == other.longStride && rankStride == other.rankStride && bytes == other.bytes
    }

    /// Writes `range` of the long side to `target`: row i, column `column` + k of rows that are `stride` long.
    func copy(_ batch: Int, _ range: Range<Int>, to target: inout [Double], stride: Int, column: Int) {
        let start = factor.offset + batch * factor.batchStride
        if longStride == 1 {
            for k in 0..<rank {
                widen(start + k * rankStride + range.lowerBound, range.count)
                for i in 0..<range.count { target[i * stride + column + k] = widened[i] }
            }
        } else {
            // All experts of these rows lie in one span; it is widened once.
            let span = factor.offset + range.lowerBound * longStride
            widen(span, min(range.count * longStride, bytes.count / size - span))
            for i in 0..<range.count {
                let row = start - factor.offset + i * longStride
                for k in 0..<rank { target[i * stride + column + k] = widened[row + k * rankStride] }
            }
        }
    }

    /// One matrix as rank vectors of the long side, one after the other.
    package func vectors(_ batch: Int) -> [Double] {
        var result = [Double](repeating: 0, count: rank * length)
        let start = factor.offset + batch * factor.batchStride
        if longStride == 1 {
            for k in 0..<rank {
                widen(start + k * rankStride, length)
                result.replaceSubrange(k * length..<(k + 1) * length, with: widened[..<length])
            }
            return result
        }
        let step = 256
        var block = [Double](repeating: 0, count: step * rank)
        for first in stride(from: 0, to: length, by: step) {
            let range = first..<min(length, first + step)
            copy(batch, range, to: &block, stride: rank, column: 0)
            for k in 0..<rank {
                for i in 0..<range.count { result[k * length + first + i] = block[i * rank + k] }
            }
        }
        return result
    }

    private func widen(_ start: Int, _ count: Int) {
        guard widenedRange != start..<start + count else { return }
        widenedRange = start..<start + count
        if widened.count < count { widened = [Double](repeating: 0, count: count) }
        precondition(start >= 0 && (start + count) * size <= bytes.count, "a factor reaches beyond its tensor")
        unsafe bytes.withUnsafeBytes { source in
            unsafe widened.withUnsafeMutableBufferPointer { target in
                guard let from = source.baseAddress, let to = target.baseAddress else { return }
                unsafe ak_widen_f64(kernel, from + start * size, to, count)
            }
        }
    }
}

/// Plain dense arithmetic in float64 by the kernels, so that it is the same on every CPU.
enum Dense {
    /// left (rows × inner) · right (inner × columns), both contiguous.
    static func product(_ left: [Double], _ right: [Double], _ rows: Int, _ inner: Int, _ columns: Int) -> [Double] {
        precondition(left.count >= rows * inner && right.count >= inner * columns)
        return unsafe [Double](unsafeUninitializedCapacity: rows * columns) { buffer, filled in
            unsafe left.withUnsafeBufferPointer { l in
                unsafe right.withUnsafeBufferPointer { r in
                    unsafe ak_delta_f64(r.baseAddress, l.baseAddress, rows, inner, columns, buffer.baseAddress)
                }
            }
            filled = rows * columns
        }
    }

    /// The transpose of `matrix` (rows × columns).
    static func transposed(_ matrix: [Double], _ rows: Int, _ columns: Int) -> [Double] {
        var result = [Double](repeating: 0, count: rows * columns)
        for i in 0..<rows {
            for j in 0..<columns { result[j * rows + i] = matrix[i * columns + j] }
        }
        return result
    }

    /// matrixᵀ · matrix of (rows × columns).
    static func gram(_ matrix: [Double], _ rows: Int, _ columns: Int) -> [Double] {
        product(transposed(matrix, rows, columns), matrix, columns, rows, columns)
    }
}
