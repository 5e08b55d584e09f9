import Fixtures
import Foundation
import Testing

/// Merging a combined adapter gives what merging its parts gives.
@Suite struct CombineMergeTests {
    private static func adapter(_ name: String) -> String { Golden.path(name) + "/adapter" }

    private static let single = Golden.cases.filter { !$0.name.hasPrefix("dora-") }

    /// Nothing is folded but what the config cannot say, so the merge is the same to the last bit or nearly so.
    @Test(arguments: single) func oneAdapter(_ golden: Golden.Case) throws {
        let scratch = try Scratch()
        for (at, operand) in golden.adapters.enumerated() {
            let path = String(operand.prefix { $0 != ":" })
            try compare(golden.base, [path], scratch, "\(at)")
        }
    }

    /// Adapters that overlap in different ways: ranks, patterns, ways of targeting, embeddings, convolutions, experts.
    static let pairs: [(base: String, other: String, weights: [Double])] = [
        ("two-adapters-f32", "two-adapters-bf16", [0.5, -1.25]),
        ("all-linear-sharded-f32", "rslora-bf16", [0.75, -0.5]),
        ("all-linear-sharded-bf16", "rslora-bf16", [0.75, -0.5]),
        ("linear-qv-f32", "patterns-regex-bf16", [1, 1]), ("linear-qv-f64", "rank-pattern-rslora-bf16", [0.3, 0.7]),
        ("linear-qv-f16", "layers-excluded-bf16", [1.5, -2]), ("no-prefix-f32", "targets-regex-bf16", [-1, 1]),
        ("rank-1-f32", "patterns-plain-bf16", [2, 0.25]), ("default-infix-bf16", "linear-qv-f16", [0.1, 0.9]),
        ("gpt2-f32", "gpt2-no-prefix-f32", [0.75, -0.5]), ("conv1d-f32", "conv1d-bf16", [0.75, -0.5]),
        ("conv2d-f32", "conv2d-bf16", [0.75, -0.5]), ("gpt-oss-both-f32", "gpt-oss-both-bf16", [0.75, -0.5]),
        ("mixtral-both-f32", "mixtral-both-bf16", [0.75, -0.5]),
        ("multihead-attention-f32", "multihead-attention-bf16", [0.75, -0.5]),
        ("tied-head-f32", "tied-embedding-bf16", [0.75, -0.5]), ("saved-head-bf16", "linear-qv-bf16", [1, 1]),
        ("tokens-dict-bf16", "linear-qv-bf16", [1, 1]), ("classifier-f32", "rslora-bf16", [1, 1]),
        ("embedding-bf16", "rank-pattern-rslora-bf16", [0.75, -0.5]),
        ("gpt-oss-both-f32", "gpt-oss-one-bf16", [0.75, -0.5]),
        ("mixtral-both-f32", "mixtral-modules-bf16", [0.75, -0.5]),
        ("qwen3-moe-fused-bf16", "qwen3-moe-one-bf16", [0.75, -0.5]), ("fp8-tensor", "fp8-block", [0.75, -0.5]),
    ]

    @Test(arguments: pairs) func twoAdapters(_ base: String, _ other: String, _ weights: [Double]) throws {
        let scratch = try Scratch()
        let second = other.hasPrefix("two-adapters") ? Golden.path(base) + "/adapter2" : Self.adapter(other)
        let operands = ["\(Self.adapter(base)):\(weights[0])", "\(second):\(weights[1])"]
        try compare(Golden.path(base) + "/base", operands, scratch, "both")
    }

    /// Rows of an embedding in one adapter and of the head in another: where these are tied, both in one adapter would mean
    /// something else.
    @Test func tokenRowsOfTwoLayersAreRefused() throws {
        let scratch = try Scratch()
        let operands = [Self.adapter("tied-tokens-f32"), Self.adapter("tied-tokens-head-bf16")]
        let answer = Tools.combine("stack", operands, scratch("out"))
        #expect(answer.status == 1)
        #expect(answer.errors.count == 2 && answer.errors.allSatisfy { $0.contains("means something else than two") })
        #expect(!exists(scratch("out")))
    }

    /// The first has biases of lora_B and the second adapts layers without a bias of their own.
    @Test func biasesOfBWhereTheBaseHasNone() throws {
        let scratch = try Scratch()
        let operands = [Self.adapter("bias-all-bf16"), Self.adapter("lora-bias-bf16")]
        try compare(Golden.path("bias-all-bf16") + "/base", operands, scratch, "bias")
    }

    /// Modules of other ranks whose names end in another's, or are another's but for a dot.
    @Test(arguments: [
        ["q_proj": 1, "layers.q_proj": 2, "layers.0.q_proj": 3, "x.q_proj": 3, "y.q_proj": 3],
        ["layers.1.q_proj": 1, "layers.11.q_proj": 3, "layers.2.q_proj": 2, "layers.21.q_proj": 2],
        ["blocks.1.0.q_proj": 1, "blocks.110.q_proj": 3, "x.q_proj": 2, "y.q_proj": 2],
    ]) func patternsThatCouldMatchOthers(_ ranks: [String: Int]) throws {
        let scratch = try Scratch()
        var random = SeededRandom(test: "patternsThatCouldMatchOthers")
        let names = ranks.keys.sorted()
        let base = TensorFile(names.map { TensorFile.Tensor($0 + ".weight", "F32", [5, 4], random.numbers(20)) })
        _ = try scratch.write("base/model.safetensors", base.encoded)
        _ = try scratch.write("base/config.json", #"{"model_type": "made-up"}"#)
        var operands: [String] = []
        for rank in Set(ranks.values).sorted() {
            var own = Factors(
                names.filter { ranks[$0] == rank }.map {
                    ($0, Matrix.random(rank, 4, &random), Matrix.random(5, rank, &random))
                })
            // A whole path in a list would also target what ends in it.
            own.fields = [
                "target_modules": own.modules.map(\.path).map(NSRegularExpression.escapedPattern).joined(separator: "|")
            ]
            operands.append(try own.write(as: "rank\(rank)", in: scratch))
        }
        try compare(scratch("base"), operands, scratch, "patterns", "--per-module")
    }

    private func compare(
        _ base: String, _ adapters: [String], _ scratch: Scratch, _ name: String, _ options: String...
    ) throws {
        let adapter = scratch("\(name)-adapter")
        let answer = Tools.run("adapter-combine", ["stack"] + adapters + ["-o", adapter] + options)
        try #require(answer.status == 0, "\(answer.err)")
        let one = Tools.merge(base, [adapter], scratch("\(name)-one"))
        try #require(one.status == 0, "\(one.err)")
        let apart = Tools.merge(base, adapters, scratch("\(name)-apart"))
        try #require(apart.status == 0, "\(apart.err)")
        let (found, wanted) = try (tensors(in: scratch("\(name)-one")), tensors(in: scratch("\(name)-apart")))
        #expect(Set(found.keys) == Set(wanted.keys))
        #expect(
            try bytes(of: scratch("\(name)-one/config.json")) == bytes(of: scratch("\(name)-apart/config.json")))
        var (narrow, different) = (0, 0)
        for (key, tensor) in wanted {
            let own = try #require(found[key])
            #expect(own.dtype == tensor.dtype && own.shape == tensor.shape, "\(key)")
            guard ["F32", "F64"].contains(tensor.dtype) else {
                let size = max(1, tensor.bytes.count / max(1, tensor.shape.reduce(1, *)))
                narrow += tensor.bytes.count / size
                different += stride(from: 0, to: min(own.bytes.count, tensor.bytes.count), by: size).count {
                    own.bytes[$0..<$0 + size] != tensor.bytes[$0..<$0 + size]
                }
                continue
            }
            let largest = tensor.values.map(\.magnitude).max() ?? 0
            let distance = zip(own.values, tensor.values).map { abs($0 - $1) }.max() ?? 0
            #expect(distance <= 1e-6 * largest, "\(key) is \(distance) away")
        }
        // Of a model of some thousand weights, one may lie so near the middle of two codes that float32's rounding decides.
        #expect(different <= max(2, narrow / 10_000), "\(different) of \(narrow) codes differ")
    }
}
