import Adapters
import Files
import Fixtures
import Foundation
import Merging
import Problems
import Safetensors
import Serving
import Testing

/// Attaching, weighting and detaching.
@Suite struct AttachTests {
    /// A model with a linear layer, a norm and an embedding, and adapters that change them in every way.
    private struct Made {
        let sample: Sample
        let model: ServedModel
        let basePath: String
        var pairs: [Sample.Pair] = []
        var paths: [String] = []
        let weight: [Double]

        init(_ test: String, dtype: String = "BF16") throws {
            sample = try Sample(test)
            let w = sample.tensor("layer.weight", dtype, [24, 18])
            weight = w.values
            basePath = try sample.base([
                w, sample.tensor("norm.weight", dtype, [18]), sample.tensor("embed_tokens.weight", dtype, [11, 18]),
                sample.tensor("layer.bias", dtype, [24]),
            ])
            model = try ServedModel(path: basePath)
        }

        mutating func add(_ pair: Sample.Pair = Sample.Pair(rank: 3, alpha: 5)) throws {
            var pair = pair
            paths.append(try sample.adapter(for: &pair, into: 18, out: 24))
            pairs.append(pair)
        }

        /// Everything the model can be asked.
        func answers(_ x: [Float]) throws -> [UInt32] {
            let now = model.snapshot()
            return bits(
                try now.linear("layer").apply(x) + now.embedding("embed_tokens").rows(of: Array(0..<11))
                    + now.tensor("norm.weight").values)
        }

        /// An adapter that replaces the norm and rows of the embedding, and adapts the layer's bias.
        func everything() throws -> String {
            try sample.adapter(
                [
                    sample.tensor("layer.lora_A.weight", "F32", [2, 18]),
                    sample.tensor("layer.lora_B.weight", "F32", [24, 2]),
                    sample.tensor("layer.lora_B.bias", "F32", [24]), sample.tensor("norm.weight", "F32", [18]),
                    sample.tensor("embed_tokens.token_adapter.trainable_tokens_delta", "F32", [2, 18]),
                ],
                [
                    "lora_bias": true, "modules_to_save": ["norm"],
                    "trainable_token_indices": ["embed_tokens": [3, 7]],
                ])
        }
    }

    @Test func detachingLeavesNothingBehind() throws {
        var made = try Made("detachingLeavesNothingBehind")
        for _ in 0..<3 { try made.add() }
        var dora = Sample.Pair(rank: 2, alpha: 4)
        dora.isDoRA = true
        try made.add(dora)
        let everything = try made.everything()
        let x = made.sample.random.numbers(4 * 18).map { Float($0) }
        let before = try made.answers(x)
        var ids: [AttachmentID] = []
        var seen = [before]
        for path in made.paths + [everything] {
            ids.append(try made.model.attach(path: path))
            let now = try made.answers(x)
            #expect(!seen.contains(now))
            seen.append(now)
        }
        #expect(made.model.attachments.map(\.id) == ids)
        #expect(made.model.attachments.map(\.adapter.path) == made.paths + [everything])
        // Detached in another order than attached, and attached again in the same.
        for at in [4, 0, 3, 1, 2] { try made.model.detach(ids[at]) }
        #expect(try made.answers(x) == before)
        for (at, path) in (made.paths + [everything]).enumerated() {
            try made.model.attach(path: path)
            #expect(try made.answers(x) == seen[at + 1])
        }
        let error = try #require(throws: ProblemList.self) { try made.model.detach(ids[0]) }
        #expect(error.problems.map(\.code) == ["not-attached"])
        #expect(error.problems[0].message == "no adapter #1 is attached to this model")
        #expect(error.problems[0].kind == .usage)
    }

    @Test func weightsCountAndCanChange() throws {
        var made = try Made("weightsCountAndCanChange")
        for _ in 0..<2 { try made.add() }
        let x = made.sample.random.numbers(18).map { Float($0) }
        let ids = try made.paths.map { try made.model.attach(path: $0) }
        let bias = try made.model.tensor("layer.bias").values.map { Double($0) }
        for weights in [[1, 1], [0.5, -2], [0, 1], [1e-3, 0], [0, 0]] {
            for at in 0..<2 {
                try made.model.setWeight(ids[at], weights[at])
                made.pairs[at].weight = weights[at]
            }
            #expect(made.model.attachments.map(\.weight) == weights)
            let exact = Sample.answer(x.map { Double($0) }, made.weight, made.pairs, bias: bias)
            let y = try made.model.linear("layer").apply(x)
            #expect(Sample.misses(y[...], exact, into: 18, rank: 6) == 0, "\(weights)")
        }
        // Weight 0 is the same as not being there, to the bit.
        let without = try made.answers(x)
        for id in ids { try made.model.detach(id) }
        #expect(try made.answers(x) == without)
        for weight in [Double.nan, .infinity] {
            let error = try #require(throws: ProblemList.self) {
                try made.model.attach(path: made.paths[0], weight: weight)
            }
            #expect(error.problems.map(\.code) == ["bad-weight"])
        }
    }

    /// Sums that have no meaning are refused with a merge's own words, and change nothing.
    @Test func sumsWithoutMeaning() throws {
        var made = try Made("sumsWithoutMeaning")
        var dora = Sample.Pair()
        dora.isDoRA = true
        for _ in 0..<2 { try made.add(dora) }
        let everything = try [made.everything(), made.everything()]
        let x = made.sample.random.numbers(18).map { Float($0) }
        let doraID = try made.model.attach(path: made.paths[0])
        let id = try made.model.attach(path: everything[0])
        let before = try made.answers(x)
        let base = try Checkpoint.open(path: made.basePath)
        func check(_ list: [(String, Double)], _ codes: Set<String>, _ change: () throws -> Void) throws {
            let error = try #require(throws: ProblemList.self) { try change() }
            let loaded = LoadedInputs(base: base, adapters: try list.map { (try Adapter(path: $0), $1) })
            let wanted = MergePlan.problems(of: loaded)
            #expect(Set(wanted.map(\.code)) == codes)
            #expect(Set(error.problems.map(\.message)) == Set(wanted.map(\.message)))
            #expect(Set(error.problems.map(\.code)) == codes)
            #expect(!error.problems.contains { $0.hint?.hasPrefix("merge only") == true })
            #expect(try made.answers(x) == before)
            #expect(made.model.attachments.map(\.id) == [doraID, id])
        }
        let both = [(made.paths[0], 1.0), (everything[0], 1)]
        try check(both + [(made.paths[1], 1)], ["several-dora"]) { try made.model.attach(path: made.paths[1]) }
        try check(both + [(everything[1], 1)], ["replaced-twice"]) { try made.model.attach(path: everything[1]) }
        try check([(made.paths[0], 0.5), both[1]], ["weighted-dora"]) { try made.model.setWeight(doraID, 0.5) }
        try check([both[0], (everything[0], 2)], ["weighted-replacement"]) { try made.model.setWeight(id, 2) }
        // What takes no part stands in nobody's way.
        let third = try made.model.attach(path: everything[1], weight: 0)
        #expect(try made.answers(x) == before)
        let error = try #require(throws: ProblemList.self) { try made.model.setWeight(third, 1) }
        #expect(Set(error.problems.map(\.code)) == ["replaced-twice"])
        try made.model.setWeight(id, 0)
        try made.model.setWeight(third, 1)
    }

    /// All that is wrong with an adapter is said at once.
    @Test func misfits() throws {
        let made = try Made("misfits")
        let sample = made.sample
        let path = try sample.adapter(
            [
                sample.tensor("layer.lora_A.weight", "F32", [2, 17]),
                sample.tensor("layer.lora_B.weight", "F32", [24, 2]),
                sample.tensor("other.lora_A.weight", "F32", [2, 18]),
                sample.tensor("other.lora_B.weight", "F32", [24, 2]),
                sample.tensor("third.lora_A.weight", "F32", [2, 18]),
            ], ["target_modules": ["layer", "other", "third"]])
        let error = try #require(throws: ProblemList.self) { try made.model.attach(path: path) }
        #expect(Set(error.problems.map(\.code)).isSuperset(of: ["shape-mismatch", "unmatched-module", "missing-half"]))
    }

    @Test func untrainedAndBroken() throws {
        let made = try Made("untrainedAndBroken")
        let sample = made.sample
        let a = sample.tensor("layer.lora_A.weight", "F32", [2, 18])
        func adapter(_ value: Double) throws -> String {
            try sample.adapter(
                [a, .init("layer.lora_B.weight", "F32", [24, 2], [Double](repeating: value, count: 48))], [:])
        }
        for (value, code) in [(0.0, "zero-delta"), (.nan, "non-finite")] {
            let path = try adapter(value)
            let error = try #require(throws: ProblemList.self) { try made.model.attach(path: path) }
            #expect(error.problems.filter { $0.severity == .error }.map(\.code) == [code])
            let id = try made.model.attach(path: path, allowing: [code])
            let notes = try #require(made.model.attachments.first?.notes)
            #expect(notes.contains { $0.code == code && $0.severity == .warning })
            try made.model.detach(id)
        }
    }

    /// Numbers that are no floating-point numbers cannot be served, and that is said when they come.
    @Test func wholeNumbers() throws {
        let sample = try Sample("wholeNumbers")
        let steps = TensorFile.Tensor("norm.steps", "I64", [1], bytes: [1, 0, 0, 0, 0, 0, 0, 0])
        let base = try sample.base([sample.tensor("layer.weight", "F32", [4, 6]), steps])
        let model = try ServedModel(path: base)
        let error = #expect(throws: Problem.self) { try model.tensor("norm.steps") }
        #expect(error?.code == "bad-dtype" && error?.tensor == "norm.steps")
        let path = try sample.adapter(
            [
                sample.tensor("layer.lora_A.weight", "F32", [2, 6]),
                sample.tensor("layer.lora_B.weight", "F32", [4, 2]),
                steps,
            ], ["modules_to_save": ["norm"]])
        let list = try #require(throws: ProblemList.self) { try model.attach(path: path) }
        #expect(list.problems.map(\.code) == ["bad-dtype"])
        #expect(
            list.problems[0].message == "replaces 'norm.steps' by I64, but only floating-point numbers can be served")
    }
}
