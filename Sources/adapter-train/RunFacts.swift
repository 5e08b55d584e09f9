import Console
import Files
import Problems
import Training

/// What is trained, on what and with which costs; and what came out.
struct RunFacts {
    private let job: TrainingJob
    private var plan: TrainingPlan { job.plan }
    private var history: TrainingHistory { job.trainer.history }

    init(_ job: TrainingJob) { self.job = job }

    /// A loss in nats.
    static func loss(_ value: Double) -> String { Humane.significant(value, digits: 4) }

    // MARK: Before

    func show(on terminal: Terminal) {
        let costs = job.trainer.costs
        var lines: [(String, String)] = [("base", base), ("trained", what)]
        lines.append(
            (
                "", "\(Humane.count(costs.trained, "parameter")), \(Humane.percent(costs.share)) of the base"
            ))
        lines.append(
            (
                "optimizer",
                "\(Humane.bytes(costs.optimizerBytes)); training everything would take \(Humane.bytes(costs.fullOptimizerBytes))"
            ))
        if costs.frozenLayers > 0 { lines.append(("frozen", frozen(costs))) }
        Self.show(lines + Self.course(job), on: terminal)
    }

    /// Prints lines of facts, each behind its name.
    static func show(_ lines: [(String, String)], on terminal: Terminal) {
        for (name, value) in lines { terminal.print(name.padded(to: 11) + value) }
    }

    /// Text and course, which every training has.
    static func course(_ job: any TrainingWork) -> [(String, String)] {
        let options = job.request.options
        return [
            ("text", text(job)),
            (
                "course",
                "\(Humane.count(job.trainer.steps, "step")) of "
                    + "\(Humane.count(options.batch * options.accumulate, "sequence")), "
                    + "\(Humane.significant(job.trainer.epochs, digits: 3)) times through the text"
            ),
        ]
    }

    private var base: String {
        let config = job.base.config
        return
            "\(escaped(job.baseName)): \(config.modelType), \(Humane.count(config.layers, "layer")) of \(config.hidden), "
            + "\(Humane.count(job.trainer.costs.base, "parameter"))"
    }

    private var what: String {
        let layers = Self.ranges(plan.layers)
        let place =
            plan.layers.count == job.base.config.layers
            ? "all layers" : "\(plan.layers.count == 1 ? "layer" : "layers") \(layers)"
        switch plan.method {
        case .lora:
            let kind = (plan.usesMagnitude ? "DoRA" : "LoRA") + (plan.usesRankStabilization ? ", rank-stabilised," : "")
            let saved = plan.modulesToSave.isEmpty ? "" : "; whole: \(plan.modulesToSave.joined(separator: ", "))"
            return plan.targets.isEmpty
                ? "whole: \(plan.modulesToSave.joined(separator: ", "))"
                : "\(kind) of rank \(plan.rank) and scale \(Humane.significant(plan.scaling, digits: 3)) on "
                    + "\(plan.targets.joined(separator: ", ")) of \(place)\(saved)"
        case .full:
            return "the weights of \(place)" + (plan.layers.count == job.base.config.layers ? "" : " and the last norm")
        case .bottleneck: return "bottlenecks of \(plan.bottleneckSize) behind attention and MLP of \(place)"
        case .prefix: return "a prefix of \(Humane.count(plan.prefixLength, "virtual token")) in \(place)"
        }
    }

    /// Numbers with runs shortened: `0, 4 to 7`.
    private static func ranges(_ numbers: [Int]) -> String {
        var parts: [(Int, Int)] = []
        for number in numbers {
            if let last = parts.last, last.1 == number - 1 {
                parts[parts.count - 1].1 = number
            } else {
                parts.append((number, number))
            }
        }
        return parts.map { $0.0 == $0.1 ? "\($0.0)" : "\($0.0) to \($0.1)" }.joined(separator: ", ")
    }

    private func frozen(_ costs: TrainingCosts) -> String {
        let layers = costs.frozenLayers == 1 ? "layer 0 does" : "layers 0 to \(costs.frozenLayers - 1) do"
        guard let bytes = costs.cacheBytes else { return "\(layers) not change, but are computed in every epoch" }
        let place = costs.cachesInFile ? "in a temporary file" : "in memory"
        return "\(layers) not change: computed once for each sequence, \(Humane.bytes(bytes)) \(place)"
    }

    private static func text(_ job: any TrainingWork) -> String {
        var parts = [
            "\(Humane.count(job.data.tokenCount, "token")) in \(Humane.count(job.data.sequences.count, "sequence"))"
        ]
        if job.data.targetCount != job.data.tokenCount {
            parts.append("\(Humane.count(job.data.targetCount)) of them learned")
        }
        if job.data.cutCount > 0 { parts.append("\(Humane.count(job.data.cutCount, "example")) cut") }
        if job.data.droppedCount > 0 {
            parts.append(
                "\(Humane.count(job.data.droppedCount, "example")) left out, of which nothing would be learned")
        }
        if let held = job.validation { parts.append("held out: \(Humane.count(held.targetCount))") }
        if let own = job.retained { parts.append("base's own: \(Humane.count(own.targetCount))") }
        return parts.joined(separator: "; ")
    }

    /// Tells of options that will not do what they seem to.
    func warn(on terminal: Terminal) {
        let (layers, bottom) = (job.base.config.layers, job.trainer.lastBottom)
        guard let every = job.request.options.unfreezeEvery, bottom > plan.layers.first ?? 0 else { return }
        let which = Self.ranges(Array(bottom..<layers))
        terminal.report(
            Problem(
                .warning, .usage, "never-unfrozen",
                "only \(bottom == layers - 1 ? "layer" : "layers") \(which) will be trained: the one below would begin with "
                    + "step \(Humane.count((layers - bottom) * every + 1)), but there are \(Humane.count(job.trainer.steps))",
                hint: "lower --unfreeze-every, or train for more steps"))
    }

    // MARK: After

    /// Tells of a training that came to nothing.
    func warnAfter(on terminal: Terminal) {
        guard job.request.options.patience != nil, history.best?.step == 0 else { return }
        terminal.report(
            Problem(
                .warning, .incompatible, "no-progress",
                "the held-out loss was best before the first step, so the output changes nothing",
                hint: "try a lower --learning-rate, or more --patience"))
    }

    func show(_ result: RunResult, on terminal: Terminal) {
        if job.trainer.stoppedEarly, let best = history.best {
            terminal.print(
                "stopped early, after step \(job.trainer.done): the held-out loss was best after step \(best.step)")
        }
        terminal.print(Self.losses(job, result.losses))
        let speed = Humane.count(Int(Double(result.tokens) / max(1e-9, result.trained)))
        terminal.print(
            "\(escaped(job.request.output)): \(Humane.bytes(result.bytes)) in \(Humane.duration(result.seconds)); "
                + "\(speed) tokens/s, \(Humane.bytes(result.peakBytes)) of memory at most")
        terminal.print("next: \(next)")
    }

    /// The command that shows what was made.
    private var next: String {
        let (base, output) = (shellQuoted(job.request.base), shellQuoted(job.request.output))
        switch (plan.method, job.request.fullOutput) {
        case (.full, .archive): return "adapter-unpack \(output) --base \(base) -o MODEL"
        case (.full, .model): return "adapter-generate \(output) --prompt TEXT"
        default: return "adapter-generate \(base) \(output) --prompt TEXT"
        }
    }

    /// Losses before and after.
    static func losses(_ job: any TrainingWork, _ after: TextLosses) -> Table {
        var table = Table(columns: [("loss (nats)", .left), ("before", .right), ("after", .right)])
        let (history, isSample) = (job.trainer.history, job.data.sequences.count > Trainer.sampleCount)
        let rows = [
            ("training text" + (isSample ? ", some of it" : ""), history.trainingBefore, after.training),
            ("held-out text", history.validations.first?.loss, after.validation),
            ("base's own text", history.retainedBefore, after.retained),
        ]
        for case (let text, let before?, let after?) in rows { table.add([text, loss(before), loss(after)]) }
        return table
    }

    // MARK: JSON

    /// The document of `--json` and `--report`.
    func document(result: RunResult?) -> JSON {
        let costs = job.trainer.costs
        var fields: [(String, JSON)] = [
            ("schema", "adapterkit.train"), ("version", 1), ("base", .string(job.request.base)),
            ("data", .string(job.request.data)), ("output", .string(job.request.output)),
            ("method", .string(plan.method.rawValue)), ("layers", .array(plan.layers.map(JSON.int))),
            ("targets", .array((plan.method == .lora ? plan.targets : []).map(JSON.string))),
            ("parameters", .int(costs.trained)), ("base_parameters", .int(costs.base)), ("share", .double(costs.share)),
            ("optimizer_bytes", .int(costs.optimizerBytes)), ("full_optimizer_bytes", .int(costs.fullOptimizerBytes)),
            ("frozen_layers", .int(costs.frozenLayers)), ("cache_bytes", .optional(costs.cacheBytes)),
            ("sequences", .int(job.data.sequences.count)), ("tokens", .int(job.data.tokenCount)),
            ("steps", .int(job.trainer.steps)),
        ]
        if let result { fields += after(result) }
        return .object(fields)
    }

    private func after(_ result: RunResult) -> [(String, JSON)] {
        [
            ("steps_done", .int(job.trainer.done)), ("stopped_early", .bool(job.trainer.stoppedEarly)),
            ("first_loss", .optional(history.losses.first)), ("last_loss", .optional(history.losses.last)),
            ("training_before", .optional(history.trainingBefore)), ("training_after", .double(result.losses.training)),
            ("validation_before", .optional(history.validations.first?.loss)),
            ("validation_after", .optional(result.losses.validation)),
            ("best_step", .optional(history.best?.step)), ("best_validation", .optional(history.best?.loss)),
            ("retained_before", .optional(history.retainedBefore)),
            ("retained_after", .optional(result.losses.retained)),
            ("bytes", .int(result.bytes)), ("tokens_seen", .int(result.tokens)),
            ("training_seconds", .double(result.trained)), ("seconds", .double(result.seconds)),
            ("tokens_per_second", .double(Double(result.tokens) / max(1e-9, result.trained))),
            ("peak_memory_bytes", .int(result.peakBytes)),
        ]
    }
}

extension String {
    /// With spaces up to so many columns.
    fileprivate func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}
