import Adapters
import CKernels
import Files
import Models
import Problems
import Safetensors
import StrictJSON
import Tensors

/// A base that can be trained on: its config is understood, and every tensor has the shape that the config asks for.
public struct BaseModel: Sendable {
    /// The checkpoint.
    public let checkpoint: Checkpoint
    /// Its sizes.
    public let config: LlamaConfig

    /// Opens the base at `path`; reads headers only.
    public init(path: String) throws(ProblemList) {
        do throws(Problem) {
            checkpoint = try Checkpoint.openModel(path: path)
        } catch {
            throw ProblemList([error])
        }
        try checkpoint.requireSound()
        do throws(Problem) {
            config = try Self.withOwnHead(try LlamaConfig(checkpoint), checkpoint)
        } catch {
            throw ProblemList([error])
        }
        let problems = Self.problems(checkpoint, config)
        if !problems.isEmpty { throw ProblemList(problems) }
    }

    /// The config as transformers 5 understands it: a head that is stored with other values than the embedding's is not tied.
    private static func withOwnHead(_ config: LlamaConfig, _ checkpoint: Checkpoint) throws(Problem) -> LlamaConfig {
        guard config.isTied, let head = checkpoint.lookup(LlamaNames.head),
            let embedding = checkpoint.lookup(LlamaNames.embedding)
        else { return config }
        let (a, b) = (checkpoint.shards[head.shard].file, checkpoint.shards[embedding.shard].file)
        var config = config
        config.isTied = try TensorValues.equal(a, head.info, b, embedding.info)
        return config
    }

    /// What differs from the layout that the config asks for, and weights that are no numbers to train on.
    private static func problems(_ checkpoint: Checkpoint, _ config: LlamaConfig) -> [Problem] {
        let layout = LlamaLayout(config)
        let found = layout.problems(checkpoint)
        if !found.isEmpty { return found }
        return layout.tensors.compactMap { name, _ in
            guard let place = checkpoint.lookup(name), ![DType.f64, .f32, .f16, .bf16].contains(place.info.dtype)
            else { return nil }
            return Problem(
                .incompatible, "bad-dtype", file: checkpoint.shards[place.shard].file.path, tensor: name,
                "is \(place.info.dtype.rawValue); weights of float32, float16 or bfloat16 can be trained on")
        }
    }

    /// The values of a tensor: rows × columns, vectors as one row; in `place`, if there is such.
    func load<T: Real>(
        _ name: String, _ shape: [Int], as type: T.Type, in place: Matrix<T>? = nil
    ) throws -> Matrix<T> {
        guard let found = checkpoint.lookup(name) else {
            throw Problem(.incompatible, "no-tensor", file: checkpoint.path, tensor: name, "is missing")
        }
        return try Self.load(checkpoint.shards[found.shard].file, found.info, shape, as: type, in: place)
    }

    /// The same from any file; piece by piece, so that there is never a second copy of a large tensor.
    static func load<T: Real>(
        _ file: SafetensorsFile, _ tensor: TensorInfo, _ shape: [Int], as type: T.Type, in place: Matrix<T>? = nil
    ) throws -> Matrix<T> {
        let columns = shape.last ?? 1
        let rows = shape.dropLast().reduce(1, *)
        let matrix = place ?? Matrix<T>(rows: rows, columns: columns)
        precondition(matrix.rows == rows && matrix.columns == columns, "a place of another shape")
        let size = tensor.dtype.bits / 8
        let height = max(1, (1 << 20) / max(1, columns))
        for first in stride(from: 0, to: rows, by: height) {
            let range = first..<min(rows, first + height)
            let bytes = try file.read(
                tensor, bytes: range.lowerBound * columns * size..<range.upperBound * columns * size)
            let values = try TensorValues.floats(bytes, tensor.dtype)
            if let bad = values.firstIndex(where: { !$0.isFinite }) {
                throw Problem(
                    .incompatible, "non-finite", file: file.path, tensor: tensor.name,
                    "has a value that is not finite, at [\(first + bad / columns), \(bad % columns)]",
                    hint: "adapter-verify --deep counts them all")
            }
            matrix.rows(range).set(values)
        }
        return matrix
    }
}
