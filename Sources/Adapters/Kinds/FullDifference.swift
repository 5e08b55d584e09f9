import Problems
import Safetensors

/// A difference of full size, D itself (LyCORIS `modules/full.py`): (out × in), or a convolution's (out × in × kernel...).
package struct FullDifference: RowDelta {
    private let tensor: TensorInfo

    /// Takes the tensor, of at least two dimensions.
    package init(_ tensor: TensorInfo) { self.tensor = tensor }

    package var shape: (rows: Int, columns: Int) { (tensor.shape[0], tensor.shape.dropFirst().reduce(1, *)) }

    package func load(_ read: ValueReader) throws(Problem) -> any LoadedDelta {
        Loaded(values: try read(tensor), columns: shape.columns)
    }

    private struct Loaded: LoadedDelta {
        let values: [Double]
        let columns: Int

        func add(_ rows: Range<Int>, times scale: Double, to target: inout [Double]) {
            let first = rows.lowerBound * columns
            for at in 0..<rows.count * columns { target[at] += scale * values[first + at] }
        }
    }
}
