import Problems
import Safetensors

/// HRA: inputs are reflected at r vectors, one after the other, W' = W · H_0 · H_1 and so on, H_i = I - 2 u_i u_iᵀ.
///
/// hra_u (in·kernel × r), whose columns are brought to length 1, with `apply_GS` to right angles as well
/// (PEFT 0.21.2, `tuners/hra/layer.py`).
struct HRAAction: WeightAction {
    private let tensor: TensorInfo
    private let isOrthogonal: Bool

    /// How many reflections there are.
    var rank: Int { tensor.shape[1] }

    var rowGroup: Int { 1 }

    /// - Parameter isOrthogonal: `apply_GS` of the config.
    init(_ parts: ModuleParts, isOrthogonal: Bool) throws(Problem) {
        tensor = try parts.need("hra_u")
        self.isOrthogonal = isOrthogonal
    }

    func fits(_ shape: [Int]) -> Bool {
        shape.count >= 2 && shape.dropFirst().reduce(1, *) == tensor.shape[0]
    }

    func load(
        shape: (rows: Int, columns: Int), _ read: ValueReader, weights: RowReader
    ) throws(Problem) -> any LoadedAction {
        let (size, rank) = (tensor.shape[0], tensor.shape[1])
        let values = DenseMatrix.transposed(try read(tensor), rows: size, columns: rank)
        var vectors: [[Double]] = []
        for i in 0..<rank {
            var vector = Array(values[i * size..<(i + 1) * size])
            if isOrthogonal {
                for other in vectors {
                    let along = Self.dot(other[...], vector[...])
                    for at in vector.indices { vector[at] -= along * other[at] }
                }
            }
            let norm = Self.dot(vector[...], vector[...]).squareRoot()
            vectors.append(vector.map { $0 / norm })
        }
        return Loaded(vectors: vectors, columns: size)
    }

    private static func dot(_ a: ArraySlice<Double>, _ b: ArraySlice<Double>) -> Double {
        zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
    }

    private struct Loaded: LoadedAction {
        let vectors: [[Double]]
        let columns: Int

        func apply(_ rows: Range<Int>, to weights: inout [Double]) {
            for start in stride(from: 0, to: rows.count * columns, by: columns) {
                for vector in vectors {
                    var along = 0.0
                    for at in 0..<columns { along += weights[start + at] * vector[at] }
                    for at in 0..<columns { weights[start + at] -= 2 * along * vector[at] }
                }
            }
        }
    }
}
