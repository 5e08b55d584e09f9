import Digests
import Files
import Models
import Problems
import Safetensors
import StrictJSON
import Tokenization

/// Makes a small base from nothing: weights drawn as transformers draws them, then trained in full.
public final class Pretrainer {
    /// The sizes.
    public let config: LlamaConfig
    /// The text.
    public let data: TextData
    /// Held-out text.
    public let validation: TextData?
    /// The training.
    public let trainer: Trainer
    private let configObject: JSONObject
    private let tokenizer: [UInt8]?
    private let options: TrainingOptions
    private let length: Int

    /// Reads config and text, and draws the weights.
    ///
    /// - Parameters:
    ///   - configPath: a `config.json`; a `tokenizer.json` beside it is used and carried over.
    ///   - validationShare: the part of the text, from its end, that is held out.
    public init(
        configPath: String, dataPath: String, validationPath: String?, validationShare: Double, length wanted: Int?,
        truncates: Bool, options: TrainingOptions
    ) throws {
        let file = try InputFile(path: configPath)
        let bytes = try file.readAll(limit: 1 << 24)
        let value: JSONValue
        do throws(Problem) { value = try JSONValue.parse(bytes) } catch { throw error.at(file: configPath) }
        guard let object = value.object else {
            throw Problem(.malformed, "bad-config", file: configPath, "is no JSON object")
        }
        let config = try LlamaConfig(object, path: configPath)
        let length = wanted ?? TrainingJob.usualLength(config)
        if let positions = config.positions, length > positions {
            throw Problem(
                .incompatible, "too-long", file: configPath,
                "is for sequences of up to \(positions) tokens, but --length is \(length)",
                hint: "give --length \(positions) or less, or raise max_position_embeddings")
        }
        (self.config, configObject, self.options, self.length) = (config, object, options, length)
        let folder = try Directory(path: parentPath(of: configPath))
        let source =
            try folder.entries().contains { $0.name == "tokenizer.json" } ? folder.source("tokenizer.json") : nil
        tokenizer = try source.map { try $0.readAll(limit: TokenizerLoader.sizeLimit) }
        let loaded = try TokenizerLoader.load(folder, vocabularySize: config.vocabulary, path: configPath)
        let reader = DataReader(config: config, length: length, truncates: truncates) { () throws(Problem) in loaded }
        var data = try reader.read(dataPath)
        var validation = try validationPath.map { try reader.read($0) }
        if validationShare > 0 { validation = try data.holdOut(validationShare) }
        (self.data, self.validation) = (data, validation)
        var plan = TrainingPlan(layers: Array(0..<config.layers))
        plan.method = .full
        plan.seed = options.seed
        let deviation = object["initializer_range"]?.number?.double ?? 0.02
        var builder = ModelBuilder<Float>(config, plan) { name, shape in
            Self.initial(name, shape, deviation: deviation, seed: options.seed)
        }
        trainer = try Trainer(
            try builder.build(positions: length), options, data: data, validation: validation, retained: nil)
    }

    /// Matrices are drawn with the config's `initializer_range`, norms are one, biases zero.
    private static func initial(_ name: String, _ shape: [Int], deviation: Double, seed: UInt64) -> Matrix<Float> {
        let columns = shape.last ?? 1
        let matrix = Matrix<Float>(rows: shape.dropLast().reduce(1, *), columns: columns)
        if name.hasSuffix("norm.weight") {
            matrix.fill(1)
        } else if !name.hasSuffix(".bias") {
            var random = SeededNumbers(seed, name)
            matrix.set((0..<matrix.count).map { _ in Float(random.normal() * deviation) })
        }
        return matrix
    }

    /// Trains to the end.
    public func run(_ report: (TrainingEvent) throws -> Void) throws {
        try trainer.begin(report)
        while !trainer.isFinished {
            try report(.step(try trainer.step()))
            try trainer.lookIfDue(report)
        }
        trainer.restoreBest()
    }

    /// Writes the model as transformers reads it; returns the bytes of its weights.
    ///
    /// - Parameter shardSize: the most bytes of weights in a file; `nil` for one file.
    public func write(to path: String, replacing: Bool, dtype: DType, shardSize: Int?, version: String) throws -> Int {
        var object = configObject
        if object["architectures"] == nil {
            let name = ["mistral": "Mistral", "qwen2": "Qwen2"][config.modelType] ?? "Llama"
            object["architectures"] = .array([.string("\(name)ForCausalLM")])
        }
        // Both names are in use: `dtype` since transformers 5.
        object["torch_dtype"] = nil
        object["dtype"] = .string(dtype.torchName)
        let stage = try StagedOutput(path: path, shape: .directory, replacing: replacing)
        let files = ModelFiles(
            trainer.model, config: Array((JSONValue.object(object).encoded(indent: 2, asciiOnly: true) + "\n").utf8),
            dtype: dtype, shardSize: shardSize ?? .max)
        let bytes = try files.write(to: stage, metadata: [(key: "adapterkit.version", value: version)])
        if let tokenizer { try stage.write("tokenizer.json", tokenizer) }
        try stage.write("training.json", record)
        try stage.commit()
        return bytes
    }

    private var record: [UInt8] {
        var settings = JSONObject([("length", .number(JSONNumber(length)))])
        for pair in options.fields { settings[pair[0]] = .string(pair[1]) }
        let number = { (value: Double) in JSONValue.number(JSONNumber(text: "\(value)")) }
        var result = JSONObject([("steps", .number(JSONNumber(trainer.done)))])
        if let first = trainer.history.losses.first { result["first_loss"] = number(first) }
        if let last = trainer.history.losses.last { result["last_loss"] = number(last) }
        if let best = trainer.history.best { result["best_validation"] = number(best.loss) }
        let fields = JSONObject([
            ("schema", .string("adapterkit.training")), ("version", .number(JSONNumber(1))),
            ("method", .string("pretrain")), ("settings", .object(settings)),
            (
                "data",
                .object(
                    JSONObject([("sha256", .string(data.digest)), ("tokens", .number(JSONNumber(data.tokenCount)))]))
            ),
            ("result", .object(result)),
        ])
        return Array((JSONValue.object(fields).encoded(indent: 2) + "\n").utf8)
    }
}
