import Adapters
import Digests
import Files
import Models
import Problems
import Safetensors
import Synchronization
import Tokenization

/// One run of the trainer, from its inputs to its output.
public final class TrainingJob: TrainingWork {
    /// What was asked for.
    public let request: TrainingRequest
    /// The base.
    public let base: BaseModel
    /// What is trained.
    public let plan: TrainingPlan
    /// The texts.
    public let data: TextData
    /// Held-out text.
    public let validation: TextData?
    /// Text of the base's own domain.
    public let retained: TextData?
    /// The training.
    public let trainer: Trainer
    /// Where it came from and how.
    public private(set) var record: TrainingRecord
    /// How its state is kept.
    public let checkpoint: TrainingCheckpoint
    /// What changed since the checkpoint that it goes on from.
    public let changes: [SettingChange]
    /// What records call the base.
    public let baseName: String

    /// Opens all inputs, checks them, and reads the base.
    ///
    /// - Parameter progress: told of bytes of the base that were read.
    public init(_ request: TrainingRequest, progress: @escaping (Int) -> Void) throws {
        self.request = request
        base = try BaseModel(path: request.base)
        let config = base.config
        plan = try Self.plan(request, config)
        let length = request.length ?? Self.usualLength(config, plan)
        try Self.check(request, plan, config, length)
        (data, validation, retained) = try Self.texts(request, base, length)
        baseName = request.baseName ?? Origin.name(of: request.base)
        var digests: [(name: String, digest: String)] = []
        for shard in base.checkpoint.shards {
            digests.append((shard.name, try SHA256.hex(of: shard.file.file, progress: progress)))
        }
        let base = base
        var builder = ModelBuilder<Float>(config, plan) { name, shape, place in
            try checkInterrupted()
            return try base.load(name, shape, as: Float.self, in: place)
        }
        let model = try builder.build(positions: length)
        let start = try request.start.map {
            try StartValues(model, path: $0, base: base.checkpoint, threads: request.options.threads)
        }
        try start?.load()
        trainer = try Trainer(model, request.options, data: data, validation: validation, retained: retained)
        record = TrainingRecord(
            base: base, baseName: baseName, digests: digests, start: try start?.identity(), plan: plan,
            options: request.options, data: data,
            validation: validation, retained: retained, length: length)
        var identity = record.identity
        identity["validation_share"] = .string("\(request.validationShare)")
        checkpoint = TrainingCheckpoint(settings: identity)
        changes = request.resumes ? try checkpoint.read(into: trainer, from: request.checkpointPath) : []
    }

    private static func plan(_ request: TrainingRequest, _ config: LlamaConfig) throws(Problem) -> TrainingPlan {
        var plan = request.plan
        let usual = plan.method == .prefix ? LayerChoice.all : .last((config.layers + 1) / 2)
        plan.layers = try (request.layers ?? usual).layers(of: config.layers)
        try plan.check(config)
        guard plan.method == .full || (request.options.layerDecay == 1 && request.options.unfreezeEvery == nil) else {
            throw Problem(
                .usage, "bad-method", "--layer-decay and --unfreeze-every belong to full fine-tuning",
                hint: "add --method full")
        }
        return plan
    }

    private static func check(
        _ request: TrainingRequest, _ plan: TrainingPlan, _ config: LlamaConfig, _ length: Int
    ) throws(Problem) {
        if let positions = config.positions, length > positions {
            throw Problem(
                .incompatible, "too-long", file: request.base,
                "was made for sequences of up to \(positions) tokens, but --length is \(length)",
                hint: "give --length \(positions) or less")
        }
        if plan.method == .prefix { try PrefixRoom(config).check(request.base, plan.prefixLength, length) }
        try request.checkCourse()
        try MemoryNeed(
            config, plan, positions: length + (plan.method == .prefix ? plan.prefixLength : 0),
            threads: request.options.threads
        ).check(request.base, hint: "train less of it, or use fewer --threads")
    }

    /// How long sequences are if nothing else is said.
    static func usualLength(_ config: LlamaConfig, _ plan: TrainingPlan? = nil) -> Int {
        guard let plan, plan.method == .prefix, let room = PrefixRoom(config).positions else {
            return min(128, max(2, config.positions ?? 128))
        }
        return min(128, max(2, room - plan.prefixLength))
    }

    private static func texts(
        _ request: TrainingRequest, _ base: BaseModel, _ length: Int
    ) throws -> (data: TextData, validation: TextData?, retained: TextData?) {
        let tokenizer = Mutex<(any Tokenizer)?>(nil)
        let checkpoint = base.checkpoint
        let reader = DataReader(
            config: base.config, length: length, truncates: request.truncates
        ) { () throws(Problem) in
            try tokenizer.withLock { (known) throws(Problem) in
                if let known { return known }
                let made = try TokenizerLoader.load(
                    checkpoint.directory, vocabularySize: base.config.vocabulary, path: checkpoint.path)
                known = made
                return made
            }
        }
        var data = try reader.read(request.data)
        var validation = try request.validation.map { try reader.read($0) }
        if request.validationShare > 0 { validation = try data.holdOut(request.validationShare) }
        return (data, validation, try request.retained.map { try reader.read($0) })
    }

    /// Completes the record with the losses of the model as it is now; returns them.
    func finishRecord() throws(Problem) -> TextLosses {
        let losses = try trainer.losses()
        record.finish(trainer, after: losses)
        return losses
    }
}

extension TextData {
    /// Takes a share of the sequences away from the end, for looking at.
    mutating func holdOut(_ share: Double) throws(Problem) -> TextData {
        let count = Int((Double(sequences.count) * share).rounded(.up))
        guard count < sequences.count else {
            throw Problem(
                .usage, "no-text", file: path,
                "has \(sequences.count) sequences, of which nothing is left to train on when \(count) are held out",
                hint: "give held-out text of its own with --validation, or a smaller --length")
        }
        let held = Array(sequences.suffix(count))
        sequences.removeLast(count)
        return TextData(path: path, sequences: held, digest: digest, textBytes: nil)
    }
}
