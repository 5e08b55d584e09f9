import Problems
import Safetensors

/// PEFT's BOFT: stages of rotations of inputs, W' = s · (W · M_0ᵀ · M_1ᵀ and so on).
///
/// boft_R (stages × count × b × b); S = ½(X - Xᵀ), R = (I - S)(I + S)⁻¹, M_i = P_i · diag(R_i) · P_iᵀ. P_i puts the runs
/// of b/2 inputs in each 2^i · b inputs in an order of evens and odds. boft_s (out × 1) multiplies outputs
/// (PEFT 0.21.2, `tuners/boft/layer.py`).
struct PEFTBOFTAction: WeightAction {
    private let tensor: TensorInfo
    private let scales: TensorInfo

    private var stages: Int { tensor.shape[0] }
    private var size: Int { tensor.shape[2] }
    private var inputs: Int { tensor.shape[1] * size }

    var rowGroup: Int { 1 }

    init(_ parts: ModuleParts) throws(Problem) {
        tensor = try parts.need("boft_R", dimensions: 4...4)
        scales = try parts.need("boft_s")
        guard size == tensor.shape[3] else {
            throw parts.bad(tensor, "\(tensor.shape) has blocks that are not square")
        }
        guard stages <= 48, stages == 1 || (size % 2 == 0 && tensor.shape[1] % (1 << (stages - 1)) == 0) else {
            throw parts.bad(tensor, "\(tensor.shape) is no butterfly: \(stages) stages do not divide \(inputs) inputs")
        }
        guard scales.shape.contains(1) else { throw parts.bad(scales, "\(scales.shape) is no vector") }
    }

    func fits(_ shape: [Int]) -> Bool {
        // boft_s is (out × 1) in linear layers and (1 × out) in convolutions.
        shape.count >= 2 && scales.shape == (shape.count == 2 ? [shape[0], 1] : [1, shape[0]])
            && shape.dropFirst().reduce(1, *) == inputs
    }

    func load(
        shape: (rows: Int, columns: Int), _ read: ValueReader, weights: RowReader
    ) throws(Problem) -> any LoadedAction {
        let size = size
        let skew = Rotations.skew(try read(tensor), size: size, times: 0.5)
        let turned = Rotations.map(skew, size: size) {
            DenseMatrix.transposed(DenseMatrix.cayley($0, size: size, sign: 1), rows: size, columns: size)
        }
        let area = size * size
        let matrices = stride(from: 0, to: turned.count, by: area).map { Array(turned[$0..<$0 + area]) }
        let list = (0..<stages).map { stage in
            (order: order(stage), matrices: Array(matrices[stage * tensor.shape[1]..<(stage + 1) * tensor.shape[1]]))
        }
        return Loaded(stages: list, size: size, columns: inputs, scales: try read(scales))
    }

    /// Where the columns of a stage come from: in each 2^stage · b of them, even runs of b/2 and then odd ones.
    private func order(_ stage: Int) -> [Int]? {
        guard stage > 0 else { return nil }
        let (run, block) = (size / 2, size << stage)
        return (0..<inputs).map { place in
            let (start, inside) = (place / block * block, place % block)
            let (at, rest) = (inside / run, inside % run)
            let half = block / run / 2
            return start + (at < half ? 2 * at : 2 * (at - half) + 1) * run + rest
        }
    }

    private struct Loaded: LoadedAction {
        let stages: [(order: [Int]?, matrices: [[Double]])]
        let size: Int
        let columns: Int
        let scales: [Double]

        /// A row x becomes x · M_0ᵀ · M_1ᵀ ...; x · P has in each place the element that P's order says.
        func apply(_ rows: Range<Int>, to weights: inout [Double]) {
            for (order, matrices) in stages {
                if let order { sort(&weights, rows.count, order, back: true) }
                ColumnBlocks(matrices: matrices, size: size, columns: columns).apply(rows, to: &weights)
                if let order { sort(&weights, rows.count, order, back: false) }
            }
            OutputScales.apply(scales, rows, columns, &weights)
        }

        private func sort(_ weights: inout [Double], _ rows: Int, _ order: [Int], back: Bool) {
            for start in stride(from: 0, to: rows * columns, by: columns) {
                let old = Array(weights[start..<start + columns])
                for (place, from) in order.enumerated() {
                    if back { weights[start + from] = old[place] } else { weights[start + place] = old[from] }
                }
            }
        }
    }
}
