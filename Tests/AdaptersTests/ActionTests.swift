import Fixtures
import Problems
import Testing

@testable import Adapters

/// Kinds that change the weight by what it is, each against what defines it.
@Suite struct ActionTests {
    private func sum(_ count: Int, _ body: (Int) -> Double) -> Double { (0..<count).reduce(0) { $0 + body($1) } }

    @Test func scales() throws {
        for (flag, count) in [(0.0, 4), (1.0, 3)] {
            let sample = try KindSample([4, 3, 1, 2], [("weight", [1, count, 1, 1], nil), ("on_input", [], [flag])])
            let expected = sample.weight.indices.map {
                sample.weight[$0] * (1 + sample["weight"][flag == 0 ? $0 / 6 : $0 / 2 % 3])
            }
            #expect(distance(try sample.merged(), expected) == 0)
        }
        // A square weight lies as the architecture says.
        for (model, byRow) in [("llama", true), ("gpt2", false)] {
            let config = #"{"peft_type":"IA3","target_modules":["fc"]}"#
            let sample = try KindSample([4, 4], [("ia3_l", [4, 1], nil)], config: config, model: model)
            let expected = sample.weight.indices.map { sample.weight[$0] * sample["ia3_l"][byRow ? $0 / 4 : $0 % 4] }
            #expect(distance(try sample.merged(), expected) == 0, "\(model)")
            let names = try sample.resolution().updates.map(\.name)
            #expect(names == ["model.fc.bias", "model.fc.weight"])
        }
        let inputs = #"{"peft_type":"IA3","target_modules":["fc"],"feedforward_modules":["fc"]}"#
        #expect(try KindSample([4, 3], [("ia3_l", [1, 3], nil)], config: inputs).resolution().updates.count == 1)
        #expect(
            try KindSample([4, 3], [("ia3_l", [4, 1], nil)], config: inputs).errors() == ["config-contradicts ia3_l"])
    }

    /// (I + Q) · W' = (I - Q) · W for each block of outputs, with the limit on Q.
    @Test(arguments: [0.0, 0.1]) func diagOFT(_ alpha: Double) throws {
        let sample = try KindSample([6, 4], [("oft_blocks", [2, 3, 3], nil), ("alpha", [], [alpha])])
        let merged = try sample.merged()
        let x = sample["oft_blocks"]
        var q = x.indices.map { x[$0] - x[$0 / 9 * 9 + $0 % 3 * 3 + $0 / 3 % 3] }
        let norm = sum(18) { q[$0] * q[$0] }.squareRoot() + 1e-8
        if alpha > 0 { q = q.map { $0 * (0.6 / norm) } }
        for at in merged.indices {
            let (row, column) = (at / 4, at % 4)
            let start = row / 3 * 3
            let turned = sum(3) { q[row / 3 * 9 + row % 3 * 3 + $0] * merged[(start + $0) * 4 + column] }
            let old = sum(3) { q[row / 3 * 9 + row % 3 * 3 + $0] * sample.weight[(start + $0) * 4 + column] }
            #expect(abs(merged[at] + turned - (sample.weight[at] - old)) < 1e-14)
        }
    }

    /// W' · (I - Q) = W · (I + Q) for each block of inputs.
    @Test func peftOFT() throws {
        let config =
            #"{"peft_type":"OFT","r":0,"oft_block_size":3,"use_cayley_neumann":false,"target_modules":["fc"]}"#
        let sample = try KindSample([4, 6], [("oft_R.weight", [2, 3], nil)], config: config)
        let (merged, v) = (try sample.merged(), sample["oft_R.weight"])
        for at in merged.indices {
            let (row, block, column) = (at / 6, at % 6 / 3, at % 3)
            let q: [[Double]] = [
                [0, v[block * 3], v[block * 3 + 1]], [-v[block * 3], 0, v[block * 3 + 2]],
                [-v[block * 3 + 1], -v[block * 3 + 2], 0],
            ]
            let new = sum(3) { merged[row * 6 + block * 3 + $0] * q[$0][column] }
            let old = sum(3) { sample.weight[row * 6 + block * 3 + $0] * q[$0][column] }
            #expect(abs(merged[at] - new - (sample.weight[at] + old)) < 1e-14)
        }
        // The series is near the transform from the other side, and one term leaves everything as it is.
        let q = [0, 0.01, -0.01, 0]
        let exact = DenseMatrix.cayley(q, size: 2, sign: -1)
        #expect(distance(PEFTOFTAction.rotation(q, 2, 8), exact) < 1e-13)
        #expect(PEFTOFTAction.rotation(q, 2, 1) == [1, 0, 0, 1])
        #expect(PEFTOFTAction.rotation(q, 2, 3) == PEFTOFTAction.rotation(q, 2, 4))
        let old = try KindSample(
            [4, 6], [("oft_R.weight", [2, 3], nil)], config: #"{"peft_type":"OFT","r":2,"target_modules":["fc"]}"#)
        #expect(try old.errors() == ["bad-config -"])
    }

    /// Butterflies keep lengths: W'ᵀ · W' of outputs, or W' · W'ᵀ of inputs.
    @Test func butterflies() throws {
        let outputs = try KindSample([8, 3], [("oft_blocks", [3, 4, 2, 2], nil)])
        let merged = try outputs.merged()
        for (i, j) in [(0, 0), (0, 1), (1, 2), (2, 2)] {
            let new = sum(8) { merged[$0 * 3 + i] * merged[$0 * 3 + j] }
            #expect(abs(new - sum(8) { outputs.weight[$0 * 3 + i] * outputs.weight[$0 * 3 + j] }) < 1e-14)
        }
        #expect(distance(merged, outputs.weight) > 0.1)
        let inputs = try KindSample(
            [3, 8], [("boft_R", [2, 2, 4, 4], nil), ("boft_s", [3, 1], [1, 2, 3])],
            config: #"{"peft_type":"BOFT","target_modules":["fc"]}"#)
        let turned = try inputs.merged()
        for (i, j) in [(0, 0), (0, 1), (1, 2), (2, 2)] {
            let new = sum(8) { turned[i * 8 + $0] * turned[j * 8 + $0] }
            let old = sum(8) { inputs.weight[i * 8 + $0] * inputs.weight[j * 8 + $0] }
            #expect(abs(new - old * Double((i + 1) * (j + 1))) < 1e-13)
        }
    }

    @Test(arguments: [false, true]) func reflections(_ orthogonal: Bool) throws {
        let config = #"{"peft_type":"HRA","r":2,"apply_GS":\#(orthogonal),"target_modules":["fc"]}"#
        let sample = try KindSample([4, 5], [("hra_u", [5, 2], nil)], config: config)
        var u = (0..<2).map { i in (0..<5).map { sample["hra_u"][$0 * 2 + i] } }
        func normed(_ v: [Double]) -> [Double] {
            let norm = sum(5) { v[$0] * v[$0] }.squareRoot()
            return v.map { $0 / norm }
        }
        u[0] = normed(u[0])
        let along = orthogonal ? sum(5) { u[0][$0] * u[1][$0] } : 0
        u[1] = normed((0..<5).map { u[1][$0] - along * u[0][$0] })
        var expected = sample.weight
        for vector in u {
            let old = expected
            for at in old.indices {
                expected[at] -= 2 * vector[at % 5] * sum(5) { old[at / 5 * 5 + $0] * vector[$0] }
            }
        }
        #expect(distance(try sample.merged(), expected) < 1e-14)
    }

    /// W + s · (W · a1 · a2 + b1 · b2).
    @Test func gLoRA() throws {
        let parts: KindSample.Parts = [
            ("a1.weight", [5, 2], nil), ("a2.weight", [2, 5], nil), ("b1.weight", [4, 2], nil),
            ("b2.weight", [2, 5], nil), ("alpha", [], [4]),
        ]
        let sample = try KindSample([4, 5], parts)
        let expected = sample.weight.indices.map { at -> Double in
            let (row, column) = (at / 5, at % 5)
            let a = sum(5) { i in
                sample.weight[row * 5 + i]
                    * sum(2) { sample["a1.weight"][i * 2 + $0] * sample["a2.weight"][$0 * 5 + column] }
            }
            let b = sum(2) { sample["b1.weight"][row * 2 + $0] * sample["b2.weight"][$0 * 5 + column] }
            return sample.weight[at] + 2 * (a + b)
        }
        #expect(distance(try sample.merged(), expected) < 1e-14)
    }

    // MARK: What is wrong

    /// Parts that make no sense, and the one error that says so.
    static let broken: [(parts: KindSample.Parts, error: String)] = [
        (
            [("hada_w1_a", [4, 2], nil), ("hada_w1_b", [2, 3], nil), ("hada_w2_a", [4, 2], nil)],
            "missing-half hada_w1_a"
        ),
        (
            [
                ("hada_w1_a", [4, 2], nil), ("hada_w1_b", [2, 3], nil), ("hada_w2_a", [4, 2], nil),
                ("hada_w2_b", [1, 3], nil),
            ], "bad-factor hada_w2_b"
        ),
        (
            [
                ("hada_w1_a", [4, 2], nil), ("hada_w1_b", [2, 3], nil), ("hada_w2_a", [4, 2], nil),
                ("hada_w2_b", [2, 4], nil),
            ], "bad-factor hada_w2_a"
        ),
        ([("lokr_w1", [2, 3], nil), ("lokr_w2", [0, 1], [])], "bad-factor lokr_w2"),
        (
            [("lokr_w1", [2, 3], nil), ("lokr_w1_a", [2, 1], nil), ("lokr_w2", [2, 1], nil)], "mixed-factors lokr_w1_a"
        ),
        ([("lokr_w1", [2, 3], nil), ("lokr_w2", [2, 2], nil)], "shape-mismatch lokr_w1"),
        ([("lokr_w1", [2, 3], nil), ("lokr_w2", [2, 1], nil), ("alpha", [2], nil)], "bad-alpha alpha"),
        ([("lokr_w1", [2, 3], nil), ("lokr_w2", [2, 1], nil), ("alpha", [], [.nan])], "bad-alpha alpha"),
        ([("lokr_w1", [2, 3], nil), ("diff", [4, 3], nil)], "mixed-factors diff"),
        ([("lokr_w1", [2, 3], nil), ("lokr_w2", [2, 1], nil), ("lokr_t1", [1, 1], nil)], "not-lora lokr_t1"),
        ([("weight", [4], nil)], "missing-half weight"), ([("on_input", [], [1])], "missing-half on_input"),
        ([("weight", [2, 2], nil), ("on_input", [], [1])], "bad-factor weight"),
        ([("oft_blocks", [2, 2, 3], nil)], "bad-factor oft_blocks"),
        ([("oft_blocks", [2], nil)], "bad-factor oft_blocks"),
        ([("oft_blocks", [9, 2, 2, 2], nil)], "bad-factor oft_blocks"),
        ([("oft_blocks", [2, 2, 2], nil), ("rescale", [3, 1], nil)], "bad-factor rescale"),
        ([("oft_blocks", [3, 2, 2], nil)], "shape-mismatch oft_blocks"),
        ([("a1.weight", [3, 2], nil), ("a2.weight", [2, 3], nil)], "missing-half a1.weight"),
        ([("diff", [4, 2], nil)], "shape-mismatch diff"), ([("diff", [0, 3], [])], "bad-factor diff"),
        ([("alpha", [], [1]), ("dora_scale", [4, 1], nil)], "foreign-tensor alpha"),
    ]

    @Test(arguments: broken.indices) func brokenParts(_ at: Int) throws {
        let (parts, error) = Self.broken[at]
        #expect(try KindSample([4, 3], parts).errors() == [error])
    }

    static let brokenConfigs: [(config: String, parts: KindSample.Parts, error: String)] = [
        (
            #""LOKR","r":3,"alpha":1"#,
            [("lokr_w1", [2, 3], nil), ("lokr_w2_a", [2, 1], nil), ("lokr_w2_b", [1, 1], nil)],
            "rank-mismatch lokr_w1"
        ),
        (#""LOKR","r":0,"alpha":1"#, [("lokr_w1", [2, 3], nil), ("lokr_w2", [2, 1], nil)], "bad-config -"),
        (#""HRA","r":2,"new_field":1"#, [("hra_u", [3, 2], nil)], "unknown-config-field -"),
        (#""HRA","r":2"#, [("hra_u", [4, 2], nil)], "shape-mismatch hra_u"),
        (#""HRA","r":3"#, [("hra_u", [3, 2], nil)], "rank-mismatch hra_u"),
        (#""HRA","r":2"#, [("hra_u", [3, 2], nil), ("lora_A.weight", [2, 3], nil)], "foreign-tensor lora_A.weight"),
        (#""BOFT""#, [("boft_R", [1, 1, 3, 3], nil)], "missing-half boft_R"),
        (#""OFT","oft_block_size":3"#, [("oft_R.weight", [1, 2], nil)], "bad-factor oft_R.weight"),
        (
            #""ADALORA","init_r":2"#, [("lora_A", [2, 3], nil), ("lora_B", [4, 2], nil), ("lora_E", [1, 1], nil)],
            "bad-factor lora_E"
        ),
        (
            #""VERA","r":2"#,
            [
                ("vera_A", [2, 3], nil), ("vera_B", [3, 2], nil), ("vera_lambda_b", [4], nil),
                ("vera_lambda_d", [2], nil),
            ],
            "bad-factor vera_lambda_b"
        ),
    ]

    @Test(arguments: brokenConfigs.indices) func brokenConfig(_ at: Int) throws {
        let (config, parts, error) = Self.brokenConfigs[at]
        let sample = try KindSample([4, 3], parts, config: #"{"peft_type":\#(config),"target_modules":["fc"]}"#)
        #expect(try sample.errors() == [error])
    }

    /// A delta that is zero changes nothing; an action may.
    @Test func untrained() throws {
        let zeros: KindSample.Parts = [("lokr_w1", [2, 3], nil), ("lokr_w2", [2, 1], [0, 0])]
        #expect(try DeepCheck.changesNothing(KindSample([4, 3], zeros).adapter()))
        let trained: KindSample.Parts = [("lokr_w1", [2, 3], nil), ("lokr_w2", [2, 1], [0, 1])]
        #expect(try !DeepCheck.changesNothing(KindSample([4, 3], trained).adapter()))
        #expect(try !DeepCheck.changesNothing(KindSample([4, 3], [("oft_blocks", [2, 2, 2], nil)]).adapter()))
        #expect(
            try DeepCheck.changesNothing(
                KindSample([4, 3], [("diff", [4, 3], [Double](repeating: 0, count: 12))]).adapter()))
    }
}
