import Problems
import Safetensors
import Tensors

/// The scales beside an 8-bit weight: its numbers times these are the weights.
struct StoredScales {
    private let values: [Double]
    private let shape: [Int]
    private let block: (rows: Int, columns: Int)

    /// The scales of a matrix of `base`; `nil` if none are stored.
    init?(base: Checkpoint, of weight: TensorInfo) throws(Problem) {
        guard weight.shape.count == 2 else { return nil }
        guard let place = base.lookup(weight.name + "_scale_inv") ?? base.lookup(weight.name + "_scale") else {
            return nil
        }
        shape = weight.shape
        values = try TensorValues.doubles(base.shards[place.shard].file.read(place.info), place.info.dtype)
        if values.count == 1 {
            block = (max(1, shape[0]), max(1, shape[1]))
        } else if values.count == shape[0], place.info.shape.count == 1 || place.info.shape.last == 1 {
            block = (1, max(1, shape[1]))
        } else {
            block = BaseTraits(base).scaleBlock ?? (128, 128)
        }
        let needed = (shape[0] + block.rows - 1) / block.rows * columnBlocks
        guard values.count == needed else {
            throw Problem(
                .incompatible, "quantized-base", file: base.path, tensor: place.info.name,
                "shape \(place.info.shape) is no table of scales for '\(weight.name)' \(shape) that is understood here")
        }
    }

    private var columnBlocks: Int { (shape[1] + block.columns - 1) / block.columns }

    /// One scale for each weight.
    func perElement() -> [Double] {
        (0..<shape[0]).flatMap { row in
            (0..<shape[1]).map { values[row / block.rows * columnBlocks + $0 / block.columns] }
        }
    }
}
