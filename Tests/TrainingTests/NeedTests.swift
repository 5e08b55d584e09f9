import Models
import Problems
import Testing

@testable import Training

/// What a training needs of the machine and of its base, known before it begins.
@Suite struct NeedTests {
    private static let plans: [TrainingPlan] = {
        let lora = TrainingPlan(layers: [0, 2])
        var (dora, saving, full, some, bottleneck, prefix) = (lora, lora, lora, lora, lora, lora)
        (dora.usesMagnitude, dora.targets, dora.rank) = (true, TrainingPlan.linearModules, 3)
        saving.modulesToSave = ["embed_tokens", "lm_head", "norm", "input_layernorm", "down_proj"]
        (full.method, full.layers, some.method) = (.full, [0, 1, 2], .full)
        (bottleneck.method, bottleneck.bottleneckSize) = (.bottleneck, 5)
        (prefix.method, prefix.layers, prefix.prefixLength) = (.prefix, [0, 1, 2], 7)
        return [lora, dora, saving, full, some, bottleneck, prefix]
    }()

    @Test(arguments: plans.indices, [false, true]) func theCountIsThatOfTheModel(_ number: Int, _ biases: Bool) throws {
        let plan = Self.plans[number]
        let config = try Made.config(biases: biases)
        let model = try Made.model(Float.self, config, plan, seed: 1)
        let need = MemoryNeed(config, plan, positions: 16, threads: 2)
        #expect(need.trained == Double(model.trained.reduce(0) { $0 + $1.value.count }))
        #expect(need.base == Double(model.allParameters.reduce(0) { $0 + $1.value.count }))
        // Two gradients and two moments; the tables of 16 positions of heads of 4.
        #expect(need.bytes == 4 * (need.base + need.added + 4 * need.trained + 96))
        #expect((need.added == 0) == (plan.method == .full))
    }

    @Test func whatDoesNotFit() throws {
        let need = MemoryNeed(try Made.config(), nil, positions: 16, threads: 1)
        try need.check("config.json", available: need.bytes, hint: "less")
        #expect(throws: Problem.self) { try need.check("config.json", available: need.bytes - 1, hint: "less") }
    }

    @Test func theLargestConfigIsCounted() throws {
        let most = 1 << 31
        let config = try Made.config(
            hidden: most, intermediate: most, layers: most, heads: 1 << 20, keyValueHeads: 1 << 20, vocabulary: most)
        #expect(MemoryNeed(config, nil, positions: 1 << 20, threads: 256).bytes > 1e27)
    }

    @Test(
        arguments: [
            (nil, nil, 250, 200, nil), (256, nil, 56, 200, nil), (256, nil, 57, 200, "too-long"),
            (256, 128, 28, 100, nil), (256, 128, 29, 100, "prefix-window"), (64, 128, 32, 33, "too-long"),
            (nil, 128, 1000, 2, "prefix-window"),
        ] as [(Int?, Int?, Int, Int, String?)])
    func aPrefixTakesPositions(
        _ positions: Int?, _ window: Int?, _ prefix: Int, _ length: Int, _ code: String?
    ) throws {
        var config = try Made.config("mistral", window: window)
        config.positions = positions
        var found: String?
        do throws(Problem) { try PrefixRoom(config).check("base", prefix, length) } catch { found = error.code }
        #expect(found == code)
    }

    /// A layer that sees everything has no window.
    @Test func aWindowThatNoLayerHas() throws {
        var config = try Made.config("mistral", window: 8)
        config.firstWindowLayer = config.layers
        #expect(PrefixRoom(config).positions == nil)
        config.firstWindowLayer = config.layers - 1
        #expect(PrefixRoom(config).positions == 8)
    }

    @Test func theUsualLengthLeavesRoomForThePrefix() throws {
        var config = try Made.config()
        var plan = TrainingPlan(layers: [0, 1, 2])
        config.positions = 64
        #expect(TrainingJob.usualLength(config, plan) == 64)
        plan.method = .prefix
        #expect(TrainingJob.usualLength(config, plan) == 48)
        config.positions = 4096
        #expect(TrainingJob.usualLength(config, plan) == 128)
    }
}
