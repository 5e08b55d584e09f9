import Digests
import Files
import Models
import Problems
import Safetensors
import StrictJSON
import Tokenization

/// Makes a small base from nothing: weights drawn as transformers draws them, then trained in full.
public final class Pretrainer: TrainingWork {
    /// What was asked for; its base is the path of a `config.json`.
    public let request: TrainingRequest
    /// The sizes.
    public let config: LlamaConfig
    /// The text.
    public let data: TextData
    /// Held-out text.
    public let validation: TextData?
    /// The training.
    public let trainer: Trainer
    /// How its state is kept.
    public let checkpoint: TrainingCheckpoint
    /// What changed since the checkpoint that it goes on from.
    public let changes: [SettingChange]
    private let configObject: JSONObject
    private let tokenizer: [UInt8]?
    private let length: Int

    /// There is no base, so none forgets.
    public var retained: TextData? { nil }

    /// Reads config and text, and draws the weights; a `tokenizer.json` beside the config is used and carried over.
    public init(_ request: TrainingRequest) throws {
        let bytes = try InputFile(path: request.base).readAll(limit: 1 << 24)
        let object = try Self.object(bytes, request.base)
        let config = try LlamaConfig(object, path: request.base)
        let length = request.length ?? TrainingJob.usualLength(config)
        if let positions = config.positions, length > positions {
            throw Problem(
                .incompatible, "too-long", file: request.base,
                "is for sequences of up to \(positions) tokens, but --length is \(length)",
                hint: "give --length \(positions) or less, or raise max_position_embeddings")
        }
        try request.checkCourse()
        try MemoryNeed(config, nil, positions: length, threads: request.options.threads).check(
            request.base, hint: "make the model smaller, or use fewer --threads")
        (self.request, self.config, configObject, self.length) = (request, config, object, length)
        let folder = try Directory(path: parentPath(of: request.base))
        let source =
            try folder.entries().contains { $0.name == "tokenizer.json" } ? folder.source("tokenizer.json") : nil
        tokenizer = try source.map { try $0.readAll(limit: TokenizerLoader.sizeLimit) }
        let loaded = try TokenizerLoader.load(folder, vocabularySize: config.vocabulary, path: request.base)
        let reader = DataReader(
            config: config, length: length, truncates: request.truncates
        ) { () throws(Problem) in loaded }
        var data = try reader.read(request.data)
        var validation = try request.validation.map { try reader.read($0) }
        if request.validationShare > 0 { validation = try data.holdOut(request.validationShare) }
        (self.data, self.validation) = (data, validation)
        let model = try Self.model(config, object, seed: request.options.seed, length: length)
        trainer = try Trainer(model, request.options, data: data, validation: validation, retained: nil)
        checkpoint = TrainingCheckpoint(
            settings: Self.identity(
                request, length, data: data, validation: validation, config: bytes, tokenizer: tokenizer))
        changes = request.resumes ? try checkpoint.read(into: trainer, from: request.checkpointPath) : []
    }

    private static func object(_ bytes: [UInt8], _ path: String) throws(Problem) -> JSONObject {
        let value: JSONValue
        do throws(Problem) { value = try JSONValue.parse(bytes) } catch { throw error.at(file: path) }
        guard let object = value.object else {
            throw Problem(.malformed, "bad-config", file: path, "is no JSON object")
        }
        return object
    }

    /// All of it is trained.
    static func plan(_ config: LlamaConfig, seed: UInt64) -> TrainingPlan {
        var plan = TrainingPlan(layers: Array(0..<config.layers))
        plan.method = .full
        plan.seed = seed
        return plan
    }

    private static func model(
        _ config: LlamaConfig, _ object: JSONObject, seed: UInt64, length: Int
    ) throws -> Llama<Float> {
        let deviation = object["initializer_range"]?.number?.double ?? 0.02
        var builder = ModelBuilder<Float>(config, plan(config, seed: seed)) { name, shape, _ in
            try checkInterrupted()
            return initial(name, shape, deviation: deviation, seed: seed)
        }
        return try builder.build(positions: length)
    }

    private static func settings(_ options: TrainingOptions, _ length: Int) -> JSONObject {
        var settings = JSONObject([("length", .number(JSONNumber(length)))])
        for pair in options.fields { settings[pair[0]] = .string(pair[1]) }
        return settings
    }

    /// What a checkpoint must have been made with for this run to go on from it.
    private static func identity(
        _ request: TrainingRequest, _ length: Int, data: TextData, validation: TextData?, config: [UInt8],
        tokenizer: [UInt8]?
    ) -> JSONObject {
        var result = settings(request.options, length)
        result["method"] = .string("pretrain")
        result["config"] = .string(SHA256.hex(config))
        if let tokenizer { result["tokenizer"] = .string(SHA256.hex(tokenizer)) }
        result["data"] = .string(data.digest)
        if let validation { result["validation"] = .string(validation.digest) }
        result["validation_share"] = .string("\(request.validationShare)")
        return result
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

    /// Writes the model as transformers reads it; returns the bytes of its weights, and the losses of what is stored.
    ///
    /// - Parameter shardSize: the most bytes of weights in a file; `nil` for one file.
    public func write(shardSize: Int?) throws -> (bytes: Int, losses: TextLosses) {
        let dtype = request.dtype ?? .f32
        var object = configObject
        if object["architectures"] == nil {
            let name = ["mistral": "Mistral", "qwen2": "Qwen2"][config.modelType] ?? "Llama"
            object["architectures"] = .array([.string("\(name)ForCausalLM")])
        }
        // Both names are in use: `dtype` since transformers 5.
        object["torch_dtype"] = nil
        object["dtype"] = .string(dtype.torchName)
        let stage = try StagedOutput(path: request.output, shape: .directory, replacing: request.replaces)
        let files = ModelFiles(
            trainer.model, config: Array((JSONValue.object(object).encoded(indent: 2, asciiOnly: true) + "\n").utf8),
            dtype: dtype, shardSize: shardSize ?? .max)
        try files.roundValues()
        let losses = try trainer.losses()
        let bytes = try files.write(to: stage, metadata: [(key: "adapterkit.version", value: request.version)])
        if let tokenizer { try stage.write("tokenizer.json", tokenizer) }
        try stage.write("training.json", record(losses))
        try checkInterrupted()
        try stage.commit()
        return (bytes, losses)
    }

    private func record(_ losses: TextLosses) -> [UInt8] {
        let settings = Self.settings(request.options, length)
        let number = { (value: Double) in JSONValue.number(JSONNumber(text: "\(value)")) }
        var result = JSONObject([("steps", .number(JSONNumber(trainer.done)))])
        if let first = trainer.history.losses.first { result["first_loss"] = number(first) }
        if let last = trainer.history.losses.last { result["last_loss"] = number(last) }
        if let before = trainer.history.trainingBefore { result["training_before"] = number(before) }
        result["training_after"] = number(losses.training)
        if let loss = losses.validation { result["validation_after"] = number(loss) }
        if let best = trainer.history.best { result["best_validation"] = number(best.loss) }
        if !trainer.history.changes.isEmpty { result["changes"] = .array(trainer.history.changes.map(\.json)) }
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
