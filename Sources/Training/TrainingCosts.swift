import Models

/// What a training costs, against training everything.
public struct TrainingCosts: Sendable {
    /// Numbers that are trained.
    public let trained: Int
    /// Numbers of the base.
    public let base: Int
    /// Bytes of the optimizer's moments.
    public let optimizerBytes: Int
    /// The same if all of the base were trained.
    public let fullOptimizerBytes: Int
    /// Blocks that are computed once for each sequence.
    public let frozenLayers: Int
    /// Bytes of what is kept of them; `nil` where nothing is kept.
    public let cacheBytes: Int?
    /// Whether that goes to a file.
    public let cachesInFile: Bool

    /// The part of the base that is trained.
    public var share: Double { Double(trained) / Double(max(1, base)) }
}

extension Trainer {
    /// What it costs.
    public var costs: TrainingCosts {
        let trained = model.trained.reduce(0) { $0 + $1.value.count }
        let base = LlamaLayout(model.config).tensors.reduce(0) { $0 + $1.shape.reduce(1, *) }
        return TrainingCosts(
            trained: trained, base: base, optimizerBytes: AdamW<Float>.bytes(trained),
            fullOptimizerBytes: AdamW<Float>.bytes(base), frozenLayers: model.hasFrozenPart ? model.lowest : 0,
            cacheBytes: cache.place == .nowhere ? nil : cache.byteCount, cachesInFile: cache.place == .file)
    }

    /// Tokens that each step has on average.
    public var tokensPerStep: Double {
        Double(engine.sequences[0..<order.count].reduce(0) { $0 + $1.ids.count }) / Double(order.stepsPerEpoch)
    }

    /// Ways through the data.
    public var epochs: Double { Double(steps) / Double(order.stepsPerEpoch) }
}
