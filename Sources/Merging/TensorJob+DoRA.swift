import Adapters
import CKernels
import Files
import Problems
import Tensors

/// DoRA: W + D is brought to trained magnitudes (PEFT `tuners/lora/dora.py`).
extension TensorJob {
    /// Sets the columns of L to zero that belong to DoRA, or those that don't.
    func maskLeft(_ block: Block, _ buffers: BlockBuffers, _ factors: PreparedFactors, dora: Bool) {
        var column = 0
        for entry in tensor.terms {
            if (entry.term.magnitude != nil) != dora {
                for row in 0..<block.rows.count {
                    for k in 0..<entry.term.rank { buffers.left[row * factors.rank + column + k] = 0 }
                }
            }
            column += entry.term.rank
        }
    }

    /// Adds the deltas of adapters without DoRA behind the magnitude: W' = (m/n)·(W + D_dora) + D_plain.
    ///
    /// They are divided by m/n, which is multiplied with later; where it is 0, W' is D_plain, written as W + (D_plain - W).
    func addPlainTerms(
        _ block: Block, _ buffers: BlockBuffers, _ factors: PreparedFactors, _ batch: PreparedBatch,
        _ weights: UnsafeMutableRawBufferPointer, _ rowFactors: inout [Double]?, _ columnFactors: inout [Double]?
    ) throws(Problem) {
        guard tensor.terms.contains(where: { $0.term.magnitude == nil }) else { return }
        factors.left(batch: block.batch, rows: block.rows, into: &buffers.left)
        maskLeft(block, buffers, factors, dora: false)
        let count = block.rows.count * view.columns
        var plain = [Double](repeating: 0, count: count)
        unsafe ak_delta_f64(batch.right, buffers.left, block.rows.count, factors.rank, view.columns, &plain)
        let start =
            (rowFactors ?? columnFactors ?? []).contains(0)
            ? try TensorValues.doubles(unsafe Array(UnsafeRawBufferPointer(weights)), tensor.source.info.dtype) : []
        for row in 0..<block.rows.count {
            for column in 0..<view.columns {
                let factor = rowFactors?[row] ?? columnFactors?[column] ?? 1
                let at = row * view.columns + column
                if factor == 0 {
                    unsafe buffers.delta[at] = plain[at] - start[at]
                } else {
                    unsafe buffers.delta[at] += plain[at] / factor
                }
            }
        }
        rowFactors = rowFactors.map { $0.map { $0 == 0 ? 1 : $0 } }
        columnFactors = columnFactors.map { $0.map { $0 == 0 ? 1 : $0 } }
    }

    /// m / n for each row, where n is the norm of W + D (PEFT `tuners/lora/dora.py`).
    func perRowFactors(
        _ block: Block, _ buffers: BlockBuffers, _ weights: UnsafeMutableRawBufferPointer, _ magnitude: Magnitude,
        _ factors: PreparedFactors
    ) throws(Problem) -> [Double] {
        let m = try environment.magnitudes(of: tensor, magnitude)
        var sums = [Double](repeating: 0, count: block.rows.count)
        guard let kernel = tensor.source.info.dtype.kernel else { return sums }
        unsafe ak_row_sumsq(
            kernel, weights.baseAddress, view.columns, block.rows.count, view.columns, buffers.delta.baseAddress,
            view.columns, 1, &sums)
        for (at, row) in block.rows.enumerated() { sums[at] = m[row] / (sums[at].squareRoot() + magnitude.epsilon) }
        return sums
    }

    /// m / n for each column: a first pass over the whole tensor.
    func columnFactors(
        _ index: Int, _ factors: PreparedFactors, _ right: [Double], _ magnitude: Magnitude
    ) throws(Problem) -> [Double] {
        let m = try environment.magnitudes(of: tensor, magnitude)
        let buffers = BlockBuffers()
        let batch = PreparedBatch(index: index, doubles: right)
        let source = tensor.source.info
        var sums = [Double](repeating: 0, count: view.columns)
        guard let kernel = source.dtype.kernel else { return sums }
        for block in blocks where block.batch == index {
            try checkInterrupted()
            let size = source.dtype.bits / 8
            let count = block.rows.count * view.columns
            let weights = unsafe buffers.weights(count * size)
            let first = firstElement(block)
            try unsafe environment.read(tensor.source, first * size..<(first + count) * size, into: weights)
            try delta(block, buffers, factors, batch)
            unsafe ak_col_sumsq(
                kernel, weights.baseAddress, view.columns, block.rows.count, view.columns, buffers.delta.baseAddress,
                view.columns, 1, &sums)
        }
        return zip(m, sums).map { $0 / ($1.squareRoot() + magnitude.epsilon) }
    }
}
