import Files
import Glibc
import Problems
import Tensors

/// What happens while a model is trained.
public enum TrainingEvent: Sendable {
    /// A step is done.
    case step(TrainingStep)
    /// The held-out text was looked at.
    case validation(step: Int, loss: Double, isBest: Bool)
    /// The state was kept.
    case checkpoint(step: Int)
}

/// One step.
public struct TrainingStep: Sendable {
    /// Its number, from 1.
    public var number: Int
    /// The mean loss of its targets before the step, in nats.
    public var loss: Double
    /// The learning rate.
    public var rate: Double
    /// The norm of the gradients, before clipping.
    public var gradientNorm: Double
    /// Positions that went through the model.
    public var tokens: Int
    /// The way through the data, from 0, with the part that is done.
    public var epoch: Double
}

/// The course of a training, all of which a checkpoint keeps.
public struct TrainingHistory: Sendable, Equatable {
    /// The loss of each step.
    public var losses: [Double] = []
    /// Steps and losses on the held-out text.
    public var validations: [Look] = []
    /// Losses on some of the training text and on the base's own before.
    public var trainingBefore: Double?
    /// See above.
    public var retainedBefore: Double?
    /// The best look; its values are kept.
    public var best: Look?
    /// Looks since then.
    public var looksSinceBest = 0
    /// Settings that were changed when the run went on.
    public var changes: [SettingChange] = []

    /// The loss on the held-out text after some steps.
    public struct Look: Sendable, Equatable {
        /// How many steps were done.
        public var step: Int
        /// The mean loss, in nats.
        public var loss: Double
    }
}

/// The mean losses of a model on the texts of a run, in nats.
public struct TextLosses: Sendable, Equatable {
    /// On some of the training text; see `Trainer.sampleCount`.
    public var training: Double
    /// On the held-out text, if there is any.
    public var validation: Double?
    /// On the base's own text, if there is any.
    public var retained: Double?
}

/// Trains a model on text.
public final class Trainer {
    let model: Llama<Float>
    let options: TrainingOptions
    let engine: Engine
    let optimizer: AdamW<Float>
    let order: DataOrder
    /// Sequences of the training text, of the held-out one, and of the base's own.
    private let ranges: (training: Range<Int>, validation: Range<Int>, retained: Range<Int>)
    /// All steps.
    public let steps: Int
    let schedule: Schedule
    /// Steps that are done.
    public internal(set) var done = 0
    /// The course so far.
    public internal(set) var history = TrainingHistory()
    /// Values of the best look.
    var best: [[Float]]?

    /// Prepares to train `model`.
    ///
    /// - Parameters:
    ///   - validation: held-out text; `nil` for none.
    ///   - retained: text of the base's own domain; `nil` for none.
    package init(
        _ model: Llama<Float>, _ options: TrainingOptions, data: TextData, validation: TextData?, retained: TextData?
    ) throws(Problem) {
        (self.model, self.options) = (model, options)
        let lists = [data, validation, retained].map { $0?.sequences ?? [] }
        let sequences = lists.flatMap { $0 }
        let (a, b) = (lists[0].count, lists[0].count + lists[1].count)
        ranges = (0..<a, a..<b, b..<sequences.count)
        let cache = try FrozenCache(
            counts: sequences.map(\.ids.count), width: model.frozenWidth, limit: options.cacheLimit,
            isUsed: options.usesCache && model.hasFrozenPart)
        engine = Engine(model, sequences: sequences, cache: cache, threads: options.threads, seed: options.seed)
        optimizer = AdamW(model.trained)
        order = DataOrder(
            count: a, perStep: options.sequencesPerStep, seed: options.seed, shuffles: options.shuffles)
        steps = options.steps ?? max(1, Int((options.epochs * Double(order.stepsPerEpoch)).rounded(.up)))
        schedule = Schedule(
            rate: options.rate, warmup: Int((options.warmup * Double(steps)).rounded()), steps: steps,
            decay: options.decay)
    }

    /// Where the frozen hidden states are kept, and their bytes.
    var cache: FrozenCache { engine.cache }

    /// The first block that is trained in step `step`, counted from 0.
    func bottom(at step: Int) -> Int {
        guard let every = options.unfreezeEvery else { return model.lowest }
        return max(model.lowest, model.blocks.count - 1 - step / every)
    }

    /// The step from which on a parameter is trained.
    private func start(of parameter: Parameter<Float>) -> Int {
        guard let every = options.unfreezeEvery else { return 0 }
        if let layer = parameter.layer { return (model.blocks.count - 1 - layer) * every }
        // The embedding comes with the lowest block, unless it is the head as well.
        let isEmbedding = parameter === model.embedding.weight && parameter !== model.head.linear.weight
        return isEmbedding ? (model.blocks.count - 1) * every : 0
    }

    /// What the rate of a parameter is multiplied with.
    private func rateFactor(_ parameter: Parameter<Float>) -> Double {
        let isEmbedding = parameter === model.embedding.weight
        let depth = parameter.layer.map { model.blocks.count - 1 - $0 } ?? (isEmbedding ? model.blocks.count : 0)
        var factor = 1.0
        for _ in 0..<depth { factor *= options.layerDecay }
        return factor
    }

    /// Sequences of the training text whose loss is measured before and after.
    public static let sampleCount = 64

    /// The losses of the model as it is now.
    public func losses() throws(Problem) -> TextLosses {
        TextLosses(
            training: try trainingLoss(), validation: try loss(Array(ranges.validation)),
            retained: try loss(Array(ranges.retained)))
    }

    /// The mean loss on training text: all of it, or `sampleCount` sequences at even distances.
    private func trainingLoss() throws(Problem) -> Double {
        let (all, wanted) = (ranges.training.count, min(ranges.training.count, Self.sampleCount))
        return try loss((0..<wanted).map { $0 * all / wanted }) ?? 0
    }

    private func loss(_ sequences: [Int]) throws(Problem) -> Double? {
        guard !sequences.isEmpty else { return nil }
        let sums = try engine.losses(sequences)
        return sums.loss / Double(max(1, sums.targets))
    }

    /// The loss and the gradients of the first step, without taking it.
    package func firstGradients() throws(Problem) -> (loss: Double, gradients: [(Parameter<Float>, Matrix<Float>)]) {
        let sums = try engine.step(order.sequences(at: 0), step: 0, bottom: bottom(at: 0))
        return (sums.loss / Double(max(1, sums.targets)), Array(zip(model.trained, engine.gradients)))
    }

    /// Looks at texts before the first step; or at what a run that was stopped did not come to look at.
    public func begin(_ report: (TrainingEvent) throws -> Void) throws {
        if done == 0, history.trainingBefore == nil {
            history.trainingBefore = try trainingLoss()
            history.retainedBefore = try loss(Array(ranges.retained))
        }
        if isTimeToLook, history.validations.last?.step != done { try look(report) }
    }

    /// Takes one step.
    ///
    /// - Throws: `diverged`, with the model as it was before, if the loss or a gradient is no number any more.
    @discardableResult public func step() throws(Problem) -> TrainingStep {
        let list = order.sequences(at: done)
        let sums = try engine.step(list, step: done, bottom: bottom(at: done))
        let loss = sums.loss / Double(max(1, sums.targets))
        let norm = gradientNorm()
        guard loss.isFinite, norm.isFinite else {
            throw Problem(
                .incompatible, "diverged",
                "training diverged: in step \(done + 1) the \(loss.isFinite ? "gradient" : "loss") is no number any more",
                hint: "try a lower --learning-rate or a longer --warmup")
        }
        try requireNotWorse(loss)
        let rate = schedule.rate(at: done)
        update(rate: rate, scale: options.clip > 0 ? min(1, options.clip / (norm + 1e-6)) : 1)
        done += 1
        history.losses.append(loss)
        return TrainingStep(
            number: done, loss: loss, rate: rate, gradientNorm: norm,
            tokens: list.reduce(0) { $0 + engine.sequences[$1].ids.count },
            epoch: Double(done) / Double(order.stepsPerEpoch))
    }

    /// Steps whose losses are looked at together.
    private static let divergenceSteps = 8

    /// Stops where the losses of the last steps are worse than guessing by as much as the first one was good.
    private func requireNotWorse(_ loss: Double) throws(Problem) {
        let recent = history.losses.suffix(Self.divergenceSteps - 1) + [loss]
        guard let first = history.losses.first, recent.count == Self.divergenceSteps else { return }
        let least = recent.min() ?? loss
        guard least > max(4 * first, first + log(Double(model.config.vocabulary))) else { return }
        throw Problem(
            .incompatible, "diverged",
            "training diverged: in the last \(recent.count) steps the loss was never below \(Float(least)), "
                + "but \(Float(first)) in the first step",
            hint: "try a lower --learning-rate or a longer --warmup")
    }

    private func gradientNorm() -> Double {
        var sum = 0.0
        for (parameter, gradient) in zip(model.trained, engine.gradients) where start(of: parameter) <= done {
            sum += gradient.sumOfSquares
        }
        return sum.squareRoot()
    }

    private func update(rate: Double, scale: Double) {
        let (optimizer, engine, options) = (optimizer, engine, options)
        let plans = model.trained.map { (start: start(of: $0), factor: rateFactor($0)) }
        let done = done
        engine.forEachSlot { slot in
            guard plans[slot].start <= done else { return }
            let parameter = optimizer.parameters[slot]
            let decays = parameter.shape.count > 1
            optimizer.update(
                slot, gradient: engine.gradients[slot],
                AdamWStep(
                    rate: rate * plans[slot].factor, beta1: options.betas.first, beta2: options.betas.second,
                    epsilon: options.epsilon, decay: decays ? options.weightDecay : 0,
                    number: done - plans[slot].start + 1, gradientScale: scale))
        }
    }

    /// Whether the held-out text is to be looked at now.
    private var isTimeToLook: Bool {
        done % (options.validateEvery ?? order.stepsPerEpoch) == 0 || done == steps
    }

    /// The first block that the whole run comes to train.
    public var lastBottom: Int { bottom(at: max(0, steps - 1)) }

    /// Whether there is no step left to take.
    public var isFinished: Bool {
        done >= steps || options.patience.map { history.looksSinceBest >= $0 } ?? false
    }

    /// Whether it stopped since the held-out loss no longer fell.
    public var stoppedEarly: Bool { isFinished && done < steps }

    /// Looks at the held-out text, if there is any and it is time.
    public func lookIfDue(_ report: (TrainingEvent) throws -> Void) throws {
        if isTimeToLook { try look(report) }
    }

    private func look(_ report: (TrainingEvent) throws -> Void) throws {
        guard let loss = try loss(Array(ranges.validation)) else { return }
        let isBest = history.best.map { loss < $0.loss } ?? true
        history.validations.append(TrainingHistory.Look(step: done, loss: loss))
        if isBest {
            history.best = TrainingHistory.Look(step: done, loss: loss)
            history.looksSinceBest = 0
            if options.patience != nil { best = model.trained.map(\.value.values) }
        } else {
            history.looksSinceBest += 1
        }
        try report(.validation(step: done, loss: loss, isBest: isBest))
    }

    /// Puts the values of the best look back, where early stopping kept them.
    public func restoreBest() {
        guard let best else { return }
        for (parameter, values) in zip(model.trained, best) { parameter.value.set(values) }
    }
}
