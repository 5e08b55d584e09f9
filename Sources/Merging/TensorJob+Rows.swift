import Adapters
import CKernels
import Problems
import Tensors

/// Rows that an adapter brings whole.
extension TensorJob {
    /// Whether replaced rows, which were rounded to the source's type, are rounded once more.
    var needsRowRests: Bool {
        !tensor.rows.isEmpty && (!tensor.terms.isEmpty || tensor.source.info.dtype != tensor.dtype)
    }

    /// Adds to D what rounding took from replaced rows, so that they too are rounded once.
    func addRowRests(_ block: Block, _ buffers: BlockBuffers) throws(Problem) {
        let dtype = tensor.source.info.dtype
        for entry in tensor.rows where entry.rows.tensor.dtype != dtype {
            for (at, row) in entry.rows.rows.enumerated() where block.rows.contains(row) {
                let exact = try rowValues(entry, at)
                let rounded = try TensorValues.doubles(TensorValues.rounded(exact, to: dtype), dtype)
                let start = (row - block.rows.lowerBound) * view.columns
                for column in exact.indices where rounded[column].isFinite {
                    unsafe buffers.delta[start + column] += exact[column] - rounded[column]
                }
            }
        }
    }

    func rowValues(_ entry: (input: Int, rows: TokenRows), _ at: Int) throws(Problem) -> [Double] {
        let info = entry.rows.tensor
        let width = view.columns * info.dtype.bits / 8
        let file = environment.inputs[entry.input].adapter.file
        return try TensorValues.doubles(file.read(info, bytes: at * width..<(at + 1) * width), info.dtype)
    }

    /// Puts replacement rows into a block of weights, rounded once to the weights' type.
    func replaceRows(_ block: Block, in weights: UnsafeMutableRawBufferPointer) throws(Problem) {
        let dtype = tensor.source.info.dtype
        for entry in tensor.rows {
            for (at, row) in entry.rows.rows.enumerated() where block.rows.contains(row) {
                let info = entry.rows.tensor
                let width = view.columns * info.dtype.bits / 8
                let file = environment.inputs[entry.input].adapter.file
                var bytes = try file.read(info, bytes: at * width..<(at + 1) * width)
                if info.dtype != dtype {
                    bytes = try TensorValues.rounded(TensorValues.doubles(bytes, info.dtype), to: dtype)
                }
                let start = (row - block.rows.lowerBound) * bytes.count
                unsafe bytes.withUnsafeBytes { source in
                    unsafe UnsafeMutableRawBufferPointer(rebasing: weights[start..<start + source.count]).copyMemory(
                        from: source)
                }
            }
        }
    }
}
