import Console
import Files
import Problems
import Safetensors
import Training

/// `adapter-train pretrain`: a small base from nothing.
struct Pretraining {
    private let arguments: Arguments
    private let terminal: Terminal

    init(_ arguments: Arguments, _ terminal: Terminal) { (self.arguments, self.terminal) = (arguments, terminal) }

    /// Options that only adapters have.
    private static let foreign = [
        "method", "layers", "targets", "rank", "alpha", "rslora", "dora", "dropout", "modules-to-save", "bottleneck",
        "prefix-length", "layer-decay", "unfreeze-every", "save-as", "from", "retain", "base-name", "checkpoint-every",
        "resume", "gradients", "dry-run", "plot", "report", "metrics", "cache-limit", "no-cache",
    ]

    func run() throws -> Int32 {
        guard arguments.operands.count == 2 else {
            throw Problem(
                .usage, "no-config", "pretrain needs the config of the model to make",
                hint: "write adapter-train pretrain config.json --data FILE -o OUT")
        }
        if let name = Self.foreign.first(where: { arguments.isGiven($0) }) {
            throw Problem(.usage, "bad-option", "--\(name) does not belong to pretrain")
        }
        guard let data = arguments.value("data") else {
            throw Problem(.usage, "no-data", "there is no text to train on", hint: "name it with --data FILE")
        }
        guard let output = arguments.value("output") else {
            throw Problem(.usage, "no-output", "there is no output", hint: "name it with -o OUT")
        }
        if arguments.isGiven("patience"), !arguments.isGiven("validation"), !arguments.isGiven("validation-share") {
            throw Problem(
                .usage, "no-validation", "--patience needs held-out text to look at",
                hint: "add --validation FILE or --validation-share 0.1")
        }
        let (config, replaces) = (arguments.operands[1], arguments.flag("force"))
        try requireSeparate(output: output, from: [config, data] + arguments.values("validation"))
        try StagedOutput.checkPlace(path: output, shape: .directory, replacing: replaces)
        let shardSize = try arguments.bytes("max-shard-size")
        let started = Clock.now
        let pretrainer = try Pretrainer(
            configPath: config, dataPath: data, validationPath: arguments.value("validation"),
            validationShare: try arguments.number("validation-share", in: 0...0.9) ?? 0,
            length: try arguments.int("length", in: 2...1 << 20), truncates: arguments.flag("truncate"),
            options: try TrainingRequest.options(arguments))
        let tokens = try train(pretrainer)
        let dtype = arguments.value("dtype").flatMap(DType.init(word:)) ?? .f32
        let bytes = try pretrainer.write(
            to: output, replacing: replaces, dtype: dtype, shardSize: shardSize, version: adapterKitVersion)
        report(pretrainer, output, bytes, tokens, Clock.now - started)
        return 0
    }

    private func train(_ pretrainer: Pretrainer) throws -> Int {
        let progress = StepProgress(terminal, label: "training", total: pretrainer.trainer.steps)
        defer { progress.finish() }
        let started = Clock.now
        var tokens = 0
        try pretrainer.run { event in
            switch event {
            case .step(let step):
                tokens += step.tokens
                let speed = Int(Double(tokens) / max(1e-9, Clock.now - started))
                progress.update(
                    step.number, "loss \(RunFacts.loss(step.loss))  \(Humane.count(speed)) tokens/s")
            case .validation(let step, let loss, _):
                guard !terminal.json, !terminal.quiet else { break }
                progress.clear()
                terminal.print("step \(Humane.count(step)): held-out \(RunFacts.loss(loss))")
            case .checkpoint: break
            }
        }
        return tokens
    }

    private func report(_ made: Pretrainer, _ output: String, _ bytes: Int, _ tokens: Int, _ seconds: Double) {
        let history = made.trainer.history
        if terminal.json {
            terminal.print(json: [
                "schema": "adapterkit.pretrain", "version": 1, "output": .string(output), "bytes": .int(bytes),
                "parameters": .int(made.trainer.costs.base), "steps": .int(made.trainer.done),
                "tokens_seen": .int(tokens), "first_loss": .optional(history.losses.first),
                "last_loss": .optional(history.losses.last), "best_validation": .optional(history.best?.loss),
                "seconds": .double(seconds),
            ])
            return
        }
        let losses =
            history.losses.first.map { first in
                "; loss \(RunFacts.loss(first)) before, \(RunFacts.loss(history.losses.last ?? first)) in the last step"
            } ?? ""
        terminal.print(
            "\(escaped(output)): \(made.config.modelType) of \(Humane.count(made.trainer.costs.base, "parameter")), "
                + "\(Humane.bytes(bytes)) in \(Humane.duration(seconds))\(losses)")
    }
}
