import Fixtures
import Merging
import Problems
import Safetensors
import Testing

/// Types to cast to, which tests can name.
enum DTypeName: Sendable {
    case f32, bf16
    var value: DType { self == .f32 ? .f32 : .bf16 }
}

@Suite struct PlanTests {
    /// The errors of a plan: code and tensor.
    private func refusals(_ made: Made) throws -> [Problem] {
        do {
            _ = try made.plan()
            return []
        } catch let list as ProblemList {
            return list.problems
        }
    }

    private func expect(_ problems: [Problem], _ code: String, _ tensor: String, _ message: String, _ hint: String) {
        #expect(problems.count == 1)
        #expect(problems.first?.code == code)
        #expect(problems.first?.kind == .incompatible)
        #expect(problems.first?.tensor == "base_model.model." + tensor)
        #expect(problems.first?.message == message)
        #expect(problems.first?.hint == hint)
    }

    @Test func weightedDoRA() throws {
        let made = try Made([4, 6], "F32")
        try made.add(Made.Part(weight: 0.5, isDoRA: true))
        expect(
            try refusals(made), "weighted-dora", "layer.lora_magnitude_vector",
            "is DoRA, which a weight of 0.5 is not defined for", "give this adapter the weight 1")
    }

    @Test func twoDoRAs() throws {
        let made = try Made([4, 6], "F32")
        try made.add(Made.Part(isDoRA: true))
        try made.add(Made.Part(isDoRA: true))
        expect(
            try refusals(made), "several-dora", "layer.lora_magnitude_vector",
            "is DoRA for 'layer.weight', and so is another adapter; two magnitudes have no sum",
            "merge only one of these adapters")
    }

    @Test func replacements() throws {
        let saved = TensorFile.Tensor("base_model.model.other.weight", "F32", [3], [7, 8, 9])
        let config: [String: any Sendable] = ["modules_to_save": ["other"]]
        let one = try Made([4, 6], "F32")
        try one.add(Made.Part(saved: [saved], config: config))
        #expect(try one.merge()["layer.weight"] != nil)
        #expect(try one.merge()["other.weight"]?.values == [7, 8, 9])

        let weighted = try Made([4, 6], "F32")
        try weighted.add(Made.Part(weight: -1, saved: [saved], config: config))
        expect(
            try refusals(weighted), "weighted-replacement", "other.weight",
            "replaces 'other.weight' whole, which a weight of -1.0 does not make sense for",
            "give this adapter the weight 1")

        try one.add(Made.Part(saved: [saved], config: config))
        expect(
            try refusals(one), "replaced-twice", "other.weight",
            "replaces 'other.weight', and so does another adapter; two replacements have no sum",
            "merge only one of these adapters")
    }

    @Test func everyRefusalIsListed() throws {
        let saved = TensorFile.Tensor("base_model.model.other.weight", "F32", [3], [7, 8, 9])
        let made = try Made([4, 6], "F32")
        let config: [String: any Sendable] = ["modules_to_save": ["other"]]
        try made.add(Made.Part(weight: 2, isDoRA: true, saved: [saved], config: config))
        try made.add(Made.Part(isDoRA: true, saved: [saved], config: config))
        #expect(try refusals(made).map(\.code) == ["several-dora", "weighted-dora", "replaced-twice"])
    }

    @Test func aPlanIsAFunctionOfItsInputs() throws {
        let made = try Made([40, 60], "BF16")
        try made.add(Made.Part(rank: 3))
        for change in [
            { (_: inout MergeOptions) in }, { $0.maxShardSize = 10 }, { $0.dtype = .f64 }, { $0.digests = true },
        ] {
            let (first, second) = (try made.plan(change), try made.plan(change))
            #expect(first.files.map(\.name) == second.files.map(\.name))
            #expect(first.files.map(\.size) == second.files.map(\.size))
            #expect(first.counts == second.counts)
            #expect(first.memoryEstimate(threads: 3) == second.memoryEstimate(threads: 3))
        }
        let plan = try made.plan()
        #expect(plan.counts == (1, 1))
        #expect(plan.dataSize == 40 * 60 * 2 + 6)
        #expect(plan.copiedBytes == 6)
        _ = try made.merge()
        #expect(plan.weightFileSize == (try bytes(of: made.scratch("out/model.safetensors"))).count)
    }

    @Test func zeroWeightsTakeNoPart() throws {
        let made = try Made([4, 6], "F32")
        try made.add(Made.Part(weight: 0, isDoRA: true))
        #expect(try made.plan().counts == (0, 2))
        try made.add(Made.Part(isDoRA: true))
        #expect(try made.plan().counts == (1, 1))
    }
}
