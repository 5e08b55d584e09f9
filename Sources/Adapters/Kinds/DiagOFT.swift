import Problems
import Safetensors

/// LyCORIS's Diag-OFT and kohya's OFT: blocks of outputs are rotated, W'_k = R_kᵀ · W_k.
///
/// oft_blocks (count × size × size) with count · size outputs, R = (I + Q)(I - Q)⁻¹ of Q = X - Xᵀ. `alpha` times the number
/// of outputs limits the norm of Q. rescale (out × 1...) multiplies outputs at last (`lycoris/modules/diag_oft.py`).
struct DiagOFTAction: WeightAction {
    private let blocks: TensorInfo
    private let rescale: TensorInfo?
    private let constraint: Double
    private let outputs: Int
    /// Rows of a block.
    var rowGroup: Int { blocks.shape[1] }

    /// - Parameter constraint: the module's `alpha`; 0 for no limit.
    init(_ parts: ModuleParts, constraint: Double) throws(Problem) {
        blocks = try parts.need("oft_blocks", dimensions: 3...3)
        self.constraint = constraint
        guard blocks.shape[1] == blocks.shape[2] else {
            throw parts.bad(blocks, "\(blocks.shape) has blocks that are not square")
        }
        outputs = blocks.shape[0] * blocks.shape[1]
        rescale = try OutputScales.find(parts, outputs: outputs)
    }

    func fits(_ shape: [Int]) -> Bool { shape.count >= 2 && shape[0] == outputs }

    func load(
        shape: (rows: Int, columns: Int), _ read: ValueReader, weights: RowReader
    ) throws(Problem) -> any LoadedAction {
        let size = rowGroup
        let rotations = Rotations.lycoris(try read(blocks), size: size, limit: constraint * Double(outputs))
        return Loaded(
            turned: Rotations.map(rotations, size: size) {
                DenseMatrix.transposed($0, rows: size, columns: size)
            }, size: size, columns: shape.columns,
            rescale: try rescale.map { (tensor) throws(Problem) in try read(tensor) })
    }

    private struct Loaded: LoadedAction {
        let turned: [Double]
        let size: Int
        let columns: Int
        let rescale: [Double]?

        func apply(_ rows: Range<Int>, to weights: inout [Double]) {
            let area = size * size
            for start in stride(from: rows.lowerBound, to: rows.upperBound, by: size) {
                let block = start / size
                let place = (start - rows.lowerBound) * columns
                let old = Array(weights[place..<place + size * columns])
                let new = DenseMatrix.product(
                    Array(turned[block * area..<(block + 1) * area]), old, rows: size, inner: size, columns: columns)
                weights.replaceSubrange(place..<place + size * columns, with: new)
            }
            OutputScales.apply(rescale, rows, columns, &weights)
        }
    }
}

/// LyCORIS's `rescale`: a factor for each output.
enum OutputScales {
    static func find(_ parts: ModuleParts, outputs: Int) throws(Problem) -> TensorInfo? {
        guard parts["rescale"] != nil else { return nil }
        let tensor = try parts.need("rescale", dimensions: 1...5)
        guard tensor.elementCount == outputs else {
            throw parts.bad(tensor, "\(tensor.shape) has \(tensor.elementCount) factors for \(outputs) outputs")
        }
        return tensor
    }

    static func apply(_ factors: [Double]?, _ rows: Range<Int>, _ columns: Int, _ weights: inout [Double]) {
        guard let factors else { return }
        for at in weights.indices { weights[at] *= factors[rows.lowerBound + at / columns] }
    }
}
