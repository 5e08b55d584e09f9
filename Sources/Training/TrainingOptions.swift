import Problems

/// How long, how fast and on how much at a time is trained.
public struct TrainingOptions: Sendable, Equatable {
    /// Steps; `nil` for `epochs`.
    public var steps: Int?
    /// Ways through the data.
    public var epochs = 3.0
    /// Sequences of a part of a step.
    public var batch = 8
    /// Parts of a step, whose gradients are summed.
    public var accumulate = 1
    /// The highest learning rate.
    public var rate = 1e-3
    /// What the learning rate does after the warm-up.
    public var decay = Schedule.Decay.cosine
    /// The part of all steps over which the learning rate rises.
    public var warmup = 0.03
    /// What part of a weight, times the rate, each step takes off; norms and biases are left alone.
    public var weightDecay = 0.0
    /// How much of the mean gradient stays, and of the mean square.
    public var betas = (first: 0.9, second: 0.999)
    /// What is added to the root of the mean square.
    public var epsilon = 1e-8
    /// The norm to which gradients are cut; 0 for none.
    public var clip = 1.0
    /// What data order and dropout depend on.
    public var seed: UInt64 = 0
    /// Whether sequences are shuffled in each way through the data.
    public var shuffles = true
    /// Threads.
    public var threads = 1
    /// Bytes of frozen hidden states that stay in memory; more go to a file.
    public var cacheLimit = 1 << 30
    /// Whether they are kept at all.
    public var usesCache = true
    /// Steps between two looks at the held-out text; `nil` for once in each way through the data.
    public var validateEvery: Int?
    /// Looks without a better loss after which training stops; `nil` for never.
    public var patience: Int?
    /// `full`: what the rate of each layer is multiplied with, compared to the one above it.
    public var layerDecay = 1.0
    /// `full`: steps after which one more layer from the top is trained; `nil` for all from the beginning.
    public var unfreezeEvery: Int?

    /// What is usual.
    public init() {}

    /// Compares all.
    public static func == (a: TrainingOptions, b: TrainingOptions) -> Bool { a.fields == b.fields }

    /// All that the result depends on, by name, for records and comparisons.
    var fields: [[String]] {
        [
            ["steps", steps.map(String.init) ?? "-"], ["epochs", steps == nil ? "\(epochs)" : "-"],
            ["batch", "\(batch)"], ["accumulate", "\(accumulate)"],
            ["learning_rate", "\(rate)"], ["schedule", decay.rawValue],
            ["warmup", "\(warmup)"], ["weight_decay", "\(weightDecay)"],
            ["betas", "\(betas.first), \(betas.second)"], ["epsilon", "\(epsilon)"], ["clip", "\(clip)"],
            ["seed", "\(seed)"], ["shuffle", "\(shuffles)"], ["threads", "\(threads)"],
            ["validate_every", validateEvery.map(String.init) ?? "-"], ["patience", patience.map(String.init) ?? "-"],
            ["layer_decay", "\(layerDecay)"], ["unfreeze_every", unfreezeEvery.map(String.init) ?? "-"],
        ]
    }

    /// Sequences of a step.
    var sequencesPerStep: Int { batch * accumulate }
}

/// The order in which sequences are taken: a function of the seed and the step, so that a run can go on anywhere.
struct DataOrder: Sendable {
    let count: Int
    let perStep: Int
    let seed: UInt64
    let shuffles: Bool

    /// Steps of one way through the data.
    var stepsPerEpoch: Int { (count + perStep - 1) / perStep }

    /// The sequences of step `step`, counted from 0.
    func sequences(at step: Int) -> [Int] {
        let order = order(ofEpoch: step / stepsPerEpoch)
        let start = step % stepsPerEpoch * perStep
        return Array(order[start..<min(count, start + perStep)])
    }

    private func order(ofEpoch epoch: Int) -> [Int] {
        var order = Array(0..<count)
        guard shuffles else { return order }
        var random = SeededNumbers(seed, "epoch \(epoch)")
        for at in stride(from: count - 1, to: 0, by: -1) {
            order.swapAt(at, Int(random.next(upperBound: UInt64(at + 1))))
        }
        return order
    }
}
