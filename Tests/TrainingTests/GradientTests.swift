import Models
import Testing

@testable import Training

/// Every gradient against central differences, in float64.
struct GradientTests {
    private func plan(_ layers: [Int], _ change: (inout TrainingPlan) -> Void = { _ in }) -> TrainingPlan {
        var plan = TrainingPlan(layers: layers)
        plan.rank = 3
        plan.alpha = 5
        plan.bottleneckSize = 5
        plan.prefixLength = 3
        change(&plan)
        return plan
    }

    /// The loss of two sequences, and its gradients if `gradients` is there.
    private func loss(
        _ model: Llama<Double>, _ gradients: Gradients<Double>?, bottom: Int? = nil, dropout: Dropout? = nil
    ) -> Double {
        let counts = [7, 5]
        let vocabulary = model.config.vocabulary
        let ids = (0..<12).map { Int32(($0 * 5 + 3) % vocabulary) }
        var targets = (0..<12).map { Int32(($0 * 7 + 1) % vocabulary) }
        targets[2] = TokenSequence.ignored
        model.prepare()
        let segments = Segment.list(counts, keys: [0, 1])
        let pass = Pass(arena: Arena<Double>(), gradients: gradients, dropout: dropout, segments: segments)
        var frozen: Matrix<Double>?
        if model.hasFrozenPart {
            let all = Matrix<Double>(rows: 12, columns: model.frozenWidth)
            for segment in segments {
                let own = Pass(
                    arena: Arena<Double>(), gradients: nil, dropout: nil,
                    segments: [Segment(start: 0, count: segment.count, key: 0)])
                all.rows(segment.range).copy(model.frozen(Array(ids[segment.range]), own))
            }
            frozen = all
        }
        return model.loss(
            ids: ids, targets: targets, frozen: frozen, bottom: bottom ?? model.lowest, factor: 0.25, pass) * 0.25
    }

    private func check(
        _ config: LlamaConfig, _ plan: TrainingPlan, seed: UInt64 = 1, dropout: Dropout? = nil,
        skipsMagnitudeNorm: Bool = false
    ) throws {
        let model = try Made.model(Double.self, config, plan, seed: seed)
        let gradients = Gradients(model.trained)
        let base = loss(model, gradients, dropout: dropout)
        #expect(base.isFinite && base > 0)
        var checked = 0
        for (slot, parameter) in model.trained.enumerated() {
            let value = parameter.value
            for step in 0..<min(6, value.count) {
                let at = (step * 7919 + slot * 31) % value.count
                let (row, column) = (at / value.columns, at % value.columns)
                let kept = value[row, column]
                let h = 1e-5
                value[row, column] = kept + h
                let above = loss(model, nil, dropout: dropout)
                value[row, column] = kept - h
                let below = loss(model, nil, dropout: dropout)
                value[row, column] = kept
                let expected = (above - below) / (2 * h)
                let found = gradients.matrices[slot][row, column]
                #expect(
                    abs(found - expected) <= 1e-7 + 1e-6 * abs(expected),
                    "\(parameter.name) [\(row), \(column)]: \(found), by differences \(expected)")
                checked += 1
            }
        }
        #expect(checked >= 6)
    }

    @Test(arguments: [false, true])
    func full(isTied: Bool) throws { try check(Made.config(isTied: isTied), plan([0, 1, 2]) { $0.method = .full }) }

    @Test func fullOfTheLastLayers() throws { try check(Made.config(), plan([1, 2]) { $0.method = .full }) }

    @Test func fullWithBiases() throws { try check(Made.config(biases: true), plan([0, 1, 2]) { $0.method = .full }) }

    @Test func fullOfQwen2() throws { try check(Made.config("qwen2"), plan([0, 1, 2]) { $0.method = .full }) }

    @Test func fullOfMistralWithAWindow() throws {
        try check(Made.config("mistral", window: 3), plan([0, 1, 2]) { $0.method = .full })
    }

    @Test(arguments: [[0, 1, 2], [1, 2], [2], [0, 2]])
    func lora(layers: [Int]) throws { try check(Made.config(), plan(layers)) }

    @Test(arguments: TrainingPlan.linearModules)
    func loraOnOneModule(module: String) throws {
        try check(Made.config(), plan([1, 2]) { $0.targets = [module] })
    }

    @Test func loraWithDropout() throws {
        try check(Made.config(), plan([0, 1]) { $0.dropout = 0.4 }, dropout: Dropout(seed: 5, step: 3))
    }

    @Test(arguments: ["embed_tokens", "lm_head", "norm", "input_layernorm", "gate_proj"])
    func loraWithModulesToSave(module: String) throws {
        try check(Made.config(), plan([1, 2]) { $0.modulesToSave = [module] })
        try check(Made.config(isTied: true), plan([2]) { $0.modulesToSave = [module] })
    }

    @Test(arguments: [[0, 1, 2], [2]])
    func bottleneck(layers: [Int]) throws { try check(Made.config(), plan(layers) { $0.method = .bottleneck }) }

    @Test func prefix() throws { try check(Made.config(), plan([0, 1, 2]) { $0.method = .prefix }) }

    /// The norm in DoRA counts as a constant, so differences are taken with factors as they were.
    @Test(arguments: [0.0, 0.3])
    func dora(probability: Double) throws {
        let plan = plan([1, 2]) {
            $0.usesMagnitude = true
            $0.dropout = probability
            $0.targets = TrainingPlan.linearModules
        }
        let model = try Made.model(Double.self, Made.config(), plan, seed: 4)
        let dropout = Dropout(seed: 2, step: 1)
        let gradients = Gradients(model.trained)
        _ = loss(model, gradients, dropout: dropout)
        // Magnitudes have no part in the norm, so theirs are plain differences.
        for (slot, parameter) in model.trained.enumerated() where parameter.name.contains("magnitude") {
            for at in 0..<3 {
                let kept = parameter.value[0, at]
                parameter.value[0, at] = kept + 1e-5
                let above = loss(model, nil, dropout: dropout)
                parameter.value[0, at] = kept - 1e-5
                let below = loss(model, nil, dropout: dropout)
                parameter.value[0, at] = kept
                let expected = (above - below) / 2e-5
                let found = gradients.matrices[slot][0, at]
                #expect(abs(found - expected) <= 1e-7 + 1e-6 * abs(expected), "\(parameter.name) \(at)")
            }
        }
    }
}
