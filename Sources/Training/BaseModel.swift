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
            guard config.layers <= checkpoint.tensors.count else {
                throw Problem(
                    .incompatible, "no-tensor", file: checkpoint.path,
                    "has \(checkpoint.tensors.count) tensors, but config.json asks for \(config.layers) layers",
                    hint: "the weights belong to another config")
            }
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

    /// The tensors that a model of these sizes has, with their shapes.
    public static func layout(_ config: LlamaConfig) -> [(name: String, shape: [Int])] {
        var list = [(LlamaNames.embedding, [config.vocabulary, config.hidden])]
        for layer in 0..<config.layers {
            let path = LlamaNames.layer(layer)
            for module in LlamaNames.linear {
                guard let shape = LlamaNames.shape(of: module, config) else { continue }
                list.append(("\(path).\(module).weight", shape))
                if LlamaNames.hasBias(module, config) { list.append(("\(path).\(module).bias", [shape[0]])) }
            }
            for norm in LlamaNames.norms { list.append(("\(path).\(norm).weight", [config.hidden])) }
        }
        list.append((LlamaNames.finalNorm, [config.hidden]))
        if !config.isTied { list.append((LlamaNames.head, [config.vocabulary, config.hidden])) }
        return list
    }

    private static func problems(_ checkpoint: Checkpoint, _ config: LlamaConfig) -> [Problem] {
        var problems: [Problem] = []
        var known: Set<String> = []
        for (name, shape) in layout(config) {
            known.insert(name)
            guard let place = checkpoint.lookup(name) else {
                problems.append(
                    Problem(
                        .incompatible, "no-tensor", file: checkpoint.path, tensor: name,
                        "is missing; config.json asks for it with shape \(shape)"))
                continue
            }
            let file = checkpoint.shards[place.shard].file.path
            if place.info.shape != shape {
                problems.append(
                    Problem(
                        .incompatible, "shape-mismatch", file: file, tensor: name,
                        "has shape \(place.info.shape), but config.json asks for \(shape)",
                        hint: "the weights belong to another config"))
            } else if ![DType.f64, .f32, .f16, .bf16].contains(place.info.dtype) {
                problems.append(
                    Problem(
                        .incompatible, "bad-dtype", file: file, tensor: name,
                        "is \(place.info.dtype.rawValue); weights of float32, float16 or bfloat16 can be trained on"))
            }
        }
        for place in checkpoint.tensors where !known.contains(place.info.name) {
            // A copy of the embedding as a tied head, and rotary tables of older versions, say nothing new.
            if config.isTied && place.info.name == LlamaNames.head { continue }
            if place.info.name.hasSuffix("rotary_emb.inv_freq") { continue }
            problems.append(
                Problem(
                    .incompatible, "unexpected-tensor", file: checkpoint.shards[place.shard].file.path,
                    tensor: place.info.name, "has no place in a model of type \(config.modelType)",
                    hint: "the model computes something else than its config says"))
        }
        return problems
    }

    /// The values of a tensor: rows × columns, vectors as one row.
    func load<T: Real>(_ name: String, _ shape: [Int], as type: T.Type) throws -> Matrix<T> {
        guard let place = checkpoint.lookup(name) else {
            throw Problem(.incompatible, "no-tensor", file: checkpoint.path, tensor: name, "is missing")
        }
        return try Self.load(checkpoint.shards[place.shard].file, place.info, shape, as: type)
    }

    /// The same from any file; piece by piece, so that there is never a second copy of a large tensor.
    static func load<T: Real>(
        _ file: SafetensorsFile, _ tensor: TensorInfo, _ shape: [Int], as type: T.Type
    ) throws -> Matrix<T> {
        let columns = shape.last ?? 1
        let rows = shape.dropLast().reduce(1, *)
        let matrix = Matrix<T>(rows: rows, columns: columns)
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
