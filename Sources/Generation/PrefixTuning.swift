import Adapters
import Models
import Problems
import Tensors

/// Prefix tuning as PEFT saves it: learned keys and values of virtual tokens before the text.
///
/// The file has one tensor `prompt_embeddings` (virtual tokens × layers · 2 · kv heads · head size); of a row, the part 2i has
/// the keys of layer i, the part 2i + 1 its values (PEFT `peft_model.py`, `get_prompt`). Keys are taken as they are, and the
/// text's positions begin behind the virtual tokens.
public struct PrefixTuning: BlockHooks {
    /// Virtual tokens.
    public let prefixLength: Int
    private let layers: [(keys: [Float], values: [Float])]

    /// `peft_type` of such an adapter.
    public static let type = "PREFIX_TUNING"
    private static let tensorName = "prompt_embeddings"

    /// Reads the prefix of an adapter of this type.
    public init(_ adapter: Adapter, _ config: LlamaConfig) throws(Problem) {
        let file = adapter.file
        guard let tensor = file.header[Self.tensorName] else {
            throw Problem(
                .malformed, "no-prefix", file: file.path, "is of prefix tuning, but has no tensor '\(Self.tensorName)'",
                hint: "save the adapter again with PEFT's save_pretrained")
        }
        let row = config.layers * 2 * config.keyWidth
        guard tensor.shape.count == 2, tensor.shape[1] == row, tensor.shape[0] > 0 else {
            throw Problem(
                .incompatible, "shape-mismatch", file: file.path, tensor: tensor.name,
                "has shape \(tensor.shape), but this base needs [virtual tokens, \(row)]: keys and values of \(config.layers) "
                    + "layers with \(config.keyValueHeads) heads of \(config.headSize)",
                hint: "use the base that the prefix was trained for")
        }
        let values = try TensorValues.floats(file.read(tensor), tensor.dtype)
        guard values.allSatisfy(\.isFinite) else {
            throw Problem(
                .incompatible, "non-finite", file: file.path, tensor: tensor.name,
                "has values that are NaN or infinite",
                hint: "training diverged or the file was damaged: use an earlier checkpoint of the adapter")
        }
        prefixLength = tensor.shape[0]
        let width = config.keyWidth
        func part(_ number: Int) -> [Float] {
            (0..<tensor.shape[0]).flatMap { (token: Int) -> ArraySlice<Float> in
                let start = token * row + number * width
                return values[start..<start + width]
            }
        }
        layers = (0..<config.layers).map { (keys: part(2 * $0), values: part(2 * $0 + 1)) }
    }

    /// Keys and values of the virtual tokens.
    public func prefix(ofLayer layer: Int) -> (keys: [Float], values: [Float]) { layers[layer] }
}
