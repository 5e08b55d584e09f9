import Console
import Training

/// What base is made of what text; and what came out.
struct PretrainingFacts {
    private let made: Pretrainer
    private var history: TrainingHistory { made.trainer.history }

    init(_ made: Pretrainer) { self.made = made }

    // MARK: Before

    func show(on terminal: Terminal) {
        let (config, costs) = (made.config, made.trainer.costs)
        let lines = [
            (
                "config",
                "\(escaped(made.request.base)): \(config.modelType), \(Humane.count(config.layers, "layer")) of "
                    + "\(config.hidden), \(Humane.count(config.vocabulary)) ids"
            ),
            ("trained", "all of it, \(Humane.count(costs.trained, "parameter"))"),
            ("optimizer", Humane.bytes(costs.optimizerBytes)),
        ]
        RunFacts.show(lines + RunFacts.course(made), on: terminal)
    }

    // MARK: After

    func show(_ result: RunResult, on terminal: Terminal) {
        if made.trainer.stoppedEarly, let best = history.best {
            terminal.print(
                "stopped early, after step \(made.trainer.done): the held-out loss was best after step \(best.step)")
        }
        terminal.print(RunFacts.losses(made, result.losses))
        terminal.print(
            "\(escaped(made.request.output)): \(made.config.modelType) of "
                + "\(Humane.count(made.trainer.costs.base, "parameter")), \(Humane.bytes(result.bytes)) in "
                + "\(Humane.duration(result.seconds))")
    }

    // MARK: JSON

    /// The document of `--json` and `--report`.
    func document(result: RunResult?) -> JSON {
        let (trainer, request) = (made.trainer, made.request)
        var fields: [(String, JSON)] = [
            ("schema", "adapterkit.pretrain"), ("version", 1), ("config", .string(request.base)),
            ("data", .string(request.data)), ("output", .string(request.output)),
            ("parameters", .int(trainer.costs.base)), ("optimizer_bytes", .int(trainer.costs.optimizerBytes)),
            ("sequences", .int(made.data.sequences.count)), ("tokens", .int(made.data.tokenCount)),
            ("steps", .int(trainer.steps)),
        ]
        if let result { fields += after(result) }
        return .object(fields)
    }

    private func after(_ result: RunResult) -> [(String, JSON)] {
        [
            ("steps_done", .int(made.trainer.done)), ("stopped_early", .bool(made.trainer.stoppedEarly)),
            ("first_loss", .optional(history.losses.first)), ("last_loss", .optional(history.losses.last)),
            ("training_before", .optional(history.trainingBefore)), ("training_after", .double(result.losses.training)),
            ("validation_before", .optional(history.validations.first?.loss)),
            ("validation_after", .optional(result.losses.validation)),
            ("best_step", .optional(history.best?.step)), ("best_validation", .optional(history.best?.loss)),
            ("bytes", .int(result.bytes)), ("tokens_seen", .int(result.tokens)),
            ("training_seconds", .double(result.trained)), ("seconds", .double(result.seconds)),
            ("tokens_per_second", .double(Double(result.tokens) / max(1e-9, result.trained))),
            ("peak_memory_bytes", .int(result.peakBytes)),
        ]
    }
}
