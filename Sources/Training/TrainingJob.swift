import Adapters
import Digests
import Files
import Models
import Problems
import Safetensors
import Synchronization
import Tokenization

/// One run of the trainer, from its inputs to its output.
public final class TrainingJob {
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
    private let checkpoint: TrainingCheckpoint
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
        try Self.check(request, config)
        let length = request.length ?? Self.usualLength(config)
        (data, validation, retained) = try Self.texts(request, base, length)
        baseName = request.baseName ?? Origin.name(of: request.base)
        var digests: [(name: String, digest: String)] = []
        for shard in base.checkpoint.shards {
            digests.append((shard.name, try SHA256.hex(of: shard.file.file, progress: progress)))
        }
        let base = base
        var builder = ModelBuilder<Float>(config, plan) { name, shape in
            try checkInterrupted()
            return try base.load(name, shape, as: Float.self)
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
        checkpoint = TrainingCheckpoint(settings: record.identity)
        if request.resumes { try checkpoint.read(into: trainer, from: request.checkpointPath) }
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

    private static func check(_ request: TrainingRequest, _ config: LlamaConfig) throws(Problem) {
        if let positions = config.positions, let length = request.length, length > positions {
            throw Problem(
                .incompatible, "too-long", file: request.base,
                "was made for sequences of up to \(positions) tokens, but --length is \(length)",
                hint: "give --length \(positions) or less")
        }
        if request.validation != nil, request.validationShare > 0 {
            throw Problem(.usage, "two-validations", "--validation and --validation-share exclude each other")
        }
        if request.options.patience != nil, request.validation == nil, request.validationShare == 0 {
            throw Problem(
                .usage, "no-validation", "--patience needs held-out text to look at",
                hint: "add --validation FILE or --validation-share 0.1")
        }
        if request.resumes, request.checkpointEvery == nil {
            throw Problem(.usage, "no-checkpoint", "--resume goes with --checkpoint-every")
        }
        if request.resumes, Directory.kind(of: request.checkpointPath) == nil {
            throw Problem(
                .missing, "no-checkpoint", file: request.checkpointPath, "is not there: there is nothing to go on from",
                hint: "leave --resume out")
        }
        if !request.resumes, request.checkpointEvery != nil, Directory.kind(of: request.checkpointPath) != nil {
            throw Problem(
                .output, "exists", file: request.checkpointPath, "is there from an earlier run",
                hint: "go on from it with --resume, or remove it")
        }
    }

    /// How long sequences are if nothing else is said.
    static func usualLength(_ config: LlamaConfig) -> Int { min(128, max(2, config.positions ?? 128)) }

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

    /// Trains to the end.
    ///
    /// - Throws: after a signal, with a checkpoint written if they are wanted; `diverged`, likewise.
    public func run(_ report: (TrainingEvent) throws -> Void) throws {
        do {
            try trainer.begin(report)
            while !trainer.isFinished {
                try report(.step(try trainer.step()))
                try trainer.lookIfDue(report)
                if let every = request.checkpointEvery, trainer.done % every == 0, !trainer.isFinished {
                    try checkpoint.write(trainer, to: request.checkpointPath)
                    try report(.checkpoint(step: trainer.done))
                }
            }
        } catch let problem as Problem where problem.kind == .interrupted || problem.code == "diverged" {
            throw try stopped(problem)
        }
        trainer.restoreBest()
    }

    /// The problem that ended training, with what is left of it.
    private func stopped(_ problem: Problem) throws -> Problem {
        var problem = problem
        guard request.checkpointEvery != nil else { return problem }
        if problem.kind == .interrupted {
            try checkpoint.write(trainer, to: request.checkpointPath)
            problem.message = "stopped after step \(trainer.done); its state is in \(request.checkpointPath)"
            problem.hint = "go on with the same command and --resume"
        } else if Directory.kind(of: request.checkpointPath) != nil {
            problem.message += "; the last good state is in \(request.checkpointPath)"
        }
        return problem
    }

    /// Completes the record with the losses of the model as it is now; returns them.
    func finishRecord() throws(Problem) -> TextLosses {
        let losses = try trainer.losses()
        record.finish(trainer, after: losses)
        return losses
    }

    /// Removes the checkpoint, which nobody needs once the output is there.
    public func removeCheckpoint() throws {
        guard request.checkpointEvery != nil else { return }
        let (parent, name) = try StagedOutput.split(request.checkpointPath)
        if Directory.kind(of: request.checkpointPath) == .file { try Directory(path: parent).removeFile(name) }
        try StagedOutput.sweep(path: request.checkpointPath)
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
