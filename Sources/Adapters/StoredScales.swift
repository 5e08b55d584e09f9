import Problems
import Safetensors
import Tensors

/// The scales beside an 8-bit weight: its numbers times these are the weights.
public struct StoredScales {
    /// The names under which the scales of `weight` are understood: DeepSeek's by blocks, then those for all or each row.
    public static func names(of weight: String) -> [String] { [weight + "_scale_inv", weight + "_scale"] }

    /// All scales that belong to `weight` and say nothing once it has another type: its own, and those of its input.
    public static func companions(of weight: String) -> [String] {
        let module = ParameterName.module(of: weight)
        return names(of: weight) + ["input_scale", "activation_scale", "input_scale_inv"].map { module + "." + $0 }
    }

    /// Other tensors of the same module that seem to scale its weight.
    public static func strangers(_ base: Checkpoint, beside weight: String) -> [String] {
        let module = ParameterName.module(of: weight) + "."
        let known = Set(names(of: weight))
        return base.tensors.map(\.info.name).filter { name in
            guard name.hasPrefix(module), name != weight, !known.contains(name) else { return false }
            let rest = name.dropFirst(module.count)
            // Scales of what goes into the layer, not of its weight.
            return rest.contains("scale") && !rest.hasPrefix("input") && !rest.hasPrefix("activation")
        }.sorted()
    }

    private let values: [Double]
    private let shape: [Int]
    private let block: (rows: Int, columns: Int)

    /// The scales of a matrix of `base`; `nil` if none are stored.
    init?(base: Checkpoint, of weight: TensorInfo) throws(Problem) {
        guard weight.shape.count == 2 else { return nil }
        guard let place = Self.names(of: weight.name).lazy.compactMap({ base.lookup($0) }).first else { return nil }
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
