import Problems
import Safetensors
import Tensors

/// Values of the base's tensors for statistics.
enum WeightPieces {
    /// Calls `body` with the values of `tensor`, piece by piece.
    static func forEach(_ file: SafetensorsFile, _ tensor: TensorInfo, _ body: ([Double]) -> Void) throws(Problem) {
        try TensorValues.forEachPiece(file, tensor) { (values) throws(Problem) in
            body(values)
            return true
        }
    }

    /// All values of a small tensor.
    static func all(_ file: SafetensorsFile, _ tensor: TensorInfo) throws(Problem) -> [Double] {
        try TensorValues.doubles(file.read(tensor), tensor.dtype)
    }
}
