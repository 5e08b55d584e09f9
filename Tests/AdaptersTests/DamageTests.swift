import Fixtures
import Problems
import Testing

@testable import Adapters

/// One way to damage a sound adapter, and the errors that must come of it.
struct Damage: CustomTestStringConvertible, Sendable {
    let testDescription: String
    /// Code, the end of the tensor's name, and parts of the message.
    let expected: [(code: String, tensor: String?, parts: [String])]
    let change: @Sendable (inout Made) -> Void

    init(
        _ name: String, _ expected: [(code: String, tensor: String?, parts: [String])],
        _ change: @escaping @Sendable (inout Made) -> Void
    ) {
        testDescription = name
        self.expected = expected
        self.change = change
    }
}

@Suite struct DamageTests {
    @Test func theSampleFits() throws {
        let resolution = try Made().resolution()
        #expect(resolution.problems.isEmpty && resolution.fits)
        #expect(resolution.updates.count == 4 && resolution.renamed.isEmpty)
        #expect(resolution.updates[0].terms[0].scale == 2)
    }

    private static let q = "0.self_attn.q_proj.lora_A.weight"
    private static let qB = "0.self_attn.q_proj.lora_B.weight"

    static let all: [Damage] = [
        Damage("missing A", [("missing-half", qB, ["'lora_A'"])]) { $0.adapter.remove(at: $0.place(q)) },
        Damage("missing B", [("missing-half", q, ["'lora_B'"])]) { $0.adapter.remove(at: $0.place(qB)) },
        Damage("A transposed", [("shape-mismatch", q, ["lora_A is transposed", "[8, 2]", "[12, 8]", "[2, 8]"])]) {
            $0.adapter[$0.place(q)].shape = [8, 2]
        },
        Damage("B transposed", [("shape-mismatch", qB, ["lora_B is transposed", "[2, 12]", "[12, 8]", "[12, 2]"])]) {
            $0.adapter[$0.place(qB)].shape = [2, 12]
        },
        Damage("halves swapped", [("shape-mismatch", q, ["halves are swapped", "[12, 2]", "[2, 8]", "[12, 8]"])]) {
            $0.adapter[$0.place(q)].shape = [12, 2]
            $0.adapter[$0.place(qB)].shape = [2, 8]
        },
        Damage("ranks differ", [("shape-mismatch", q, ["the ranks differ", "[3, 8]", "[12, 2]"])]) {
            $0.adapter[$0.place(q)].shape = [3, 8]
        },
        Damage(
            "rank of the config",
            ["0.self_attn.q_proj", "0.self_attn.v_proj", "1.self_attn.q_proj", "1.self_attn.v_proj"].map {
                ("rank-mismatch", $0 + ".lora_A.weight", ["[2, 8] has rank 2", "rank 4"])
            }
        ) { $0.config["r"] = "4" },
        Damage("wrong base", [("shape-mismatch", q, ["[2, 9]", "[12, 2]", "[12, 9]", "[12, 8]"])]) {
            $0.adapter[$0.place(q)].shape = [2, 9]
        },
        Damage("foreign tensor", [("foreign-tensor", "ia3_l", ["IA3"])]) {
            $0.adapter.append((Made.prefix + "0.self_attn.q_proj.ia3_l", "F32", [12, 1]))
        },
        Damage("unknown name", [("foreign-tensor", "weight", ["no tensor of a PEFT adapter"])]) {
            $0.adapter.append(("weight", "F32", [1]))
        },
        Damage(
            "module that the base lacks", [("unmatched-module", "9.self_attn.q_proj.lora_A.weight", ["model.layers.9"])]
        ) {
            $0.adapter.append((Made.prefix + "9.self_attn.q_proj.lora_A.weight", "F32", [2, 8]))
            $0.adapter.append((Made.prefix + "9.self_attn.q_proj.lora_B.weight", "F32", [12, 2]))
        },
        Damage("not targeted", [("not-targeted", "0.self_attn.o_proj.lora_A.weight", ["target_modules"])]) {
            $0.adapter.append((Made.prefix + "0.self_attn.o_proj.lora_A.weight", "F32", [2, 8]))
            $0.adapter.append((Made.prefix + "0.self_attn.o_proj.lora_B.weight", "F32", [8, 2]))
        },
        Damage("unused pattern", [("unused-pattern", nil, ["rank_pattern", "x_proj"])]) {
            $0.config["rank_pattern"] = #"{"x_proj":4}"#
        },
        Damage("unused alpha pattern", [("unused-pattern", nil, ["alpha_pattern"])]) {
            $0.config["alpha_pattern"] = #"{"q_pro":4}"#
        },
        Damage("bad pattern", [("bad-pattern", nil, ["'('"])]) { $0.config["alpha_pattern"] = #"{"(":4}"# },
        Damage("magnitude without the flag", [("config-contradicts", "lora_magnitude_vector", ["use_dora"])]) {
            $0.adapter.append((Made.prefix + "0.self_attn.q_proj.lora_magnitude_vector", "F32", [12]))
        },
        Damage(
            "flag without magnitudes",
            ["0.self_attn.q_proj", "0.self_attn.v_proj", "1.self_attn.q_proj", "1.self_attn.v_proj"].map {
                ("missing-half", $0 + ".lora_A.weight", ["lora_magnitude_vector"])
            }
        ) { $0.config["use_dora"] = "true" },
        Damage(
            "magnitude of a wrong size",
            [("shape-mismatch", "lora_magnitude_vector", ["[8]", "[12, 8]", "12 outputs"])]
        ) {
            $0.config["use_dora"] = "true"
            $0.adapter = $0.adapter.filter { $0.name.contains("0.self_attn.q_proj") }
            $0.adapter.append((Made.prefix + "0.self_attn.q_proj.lora_magnitude_vector", "F32", [8]))
        },
        Damage(
            "bias without the flag",
            [("config-contradicts", "lora_B.bias", ["lora_bias"]), ("no-bias", "lora_B.bias", ["q_proj.bias"])]
        ) {
            $0.adapter.append((Made.prefix + "0.self_attn.q_proj.lora_B.bias", "F32", [12]))
        },
        Damage(
            "replaced bias that the base lacks", [("no-bias", "q_proj.bias", ["model.layers.0.self_attn.q_proj.bias"])]
        ) {
            $0.config["bias"] = #""lora_only""#
            $0.adapter.append((Made.prefix + "0.self_attn.q_proj.bias", "F32", [12]))
        },
        Damage("row count", [("row-count", "trainable_tokens_delta", ["[2, 8]", "3 rows"])]) {
            $0.config["trainable_token_indices"] = "[1,2,3]"
            $0.adapter.append(
                ("base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", "F32", [2, 8]))
        },
        Damage("row beyond", [("row-count", "trainable_tokens_delta", ["row 16", "16 rows"])]) {
            $0.config["trainable_token_indices"] = "[1,16]"
            $0.adapter.append(
                ("base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", "F32", [2, 8]))
        },
        Damage("negative row", [("row-count", "trainable_tokens_delta", ["row -1"])]) {
            $0.config["trainable_token_indices"] = "[1,-1]"
            $0.adapter.append(
                ("base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", "F32", [2, 8]))
        },
        Damage("row twice", [("row-count", "trainable_tokens_delta", ["twice"])]) {
            $0.config["trainable_token_indices"] = "[1,1]"
            $0.adapter.append(
                ("base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", "F32", [2, 8]))
        },
        Damage("rows given twice", [("duplicate-tensor", "trainable_tokens_delta", ["embed_tokens"])]) {
            $0.config["trainable_token_indices"] = "[1,2]"
            $0.adapter.append(
                ("base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", "F32", [2, 8]))
            $0.adapter.append(("model.embed_tokens.token_adapter.trainable_tokens_delta", "F32", [2, 8]))
        },
        Damage("same part twice", [("duplicate-tensor", "q_proj.lora_A.weight", ["model.layers.0.self_attn.q_proj"])]) {
            $0.adapter.append(("module." + Made.prefix + q, "F32", [2, 8]))
        },
        Damage("replaced twice", [("duplicate-tensor", "lm_head.weight", ["lm_head.weight"])]) {
            $0.config["modules_to_save"] = #"["lm_head"]"#
            $0.adapter.append(("base_model.model.lm_head.weight", "F32", [16, 8]))
            $0.adapter.append(("lm_head.weight", "F32", [16, 8]))
        },
        Damage("new tensor given twice", [("duplicate-tensor", "score.weight", ["score.weight"])]) {
            $0.config["modules_to_save"] = #"["score"]"#
            $0.adapter.append(("base_model.model.score.weight", "F32", [3, 8]))
            $0.adapter.append(("score.weight", "F32", [3, 8]))
        },
        Damage("replacement of a wrong shape", [("shape-mismatch", "o_proj.weight", ["[8, 9]", "[8, 8]"])]) {
            $0.config["modules_to_save"] = #"["o_proj"]"#
            $0.adapter.append((Made.prefix + "0.self_attn.o_proj.weight", "F32", [8, 9]))
        },
        Damage("empty factor", [("empty-factor", q, ["[0]"])]) { $0.adapter[$0.place(q)].shape = [0] },
        Damage("no dimensions", [("shape-mismatch", q, ["[]", "[12, 2]"])]) { $0.adapter[$0.place(q)].shape = [] },
        Damage("integers", [("bad-dtype", q, ["I32"])]) { $0.adapter[$0.place(q)].dtype = "I32" },
        Damage("two adapters in one file", [("several-adapters", "lora_A.a.weight", ["'a'"])]) {
            for at in $0.adapter.indices {
                let name = at < 2 ? "b" : "a"
                $0.adapter[at].name.replace(".weight", with: ".\(name).weight")
            }
        },
        Damage("linear and embedding", [("mixed-factors", q, ["model.layers.0.self_attn.q_proj"])]) {
            $0.adapter.append((Made.prefix + "0.self_attn.q_proj.lora_embedding_A", "F32", [2, 8]))
        },
        Damage("nothing", [("empty-adapter", nil, ["no adapter tensors"])]) { $0.adapter = [] },
        Damage("missing saved module", [("missing-module-to-save", nil, ["lm_head"])]) {
            $0.config["modules_to_save"] = #"["lm_head"]"#
        },
    ]

    @Test(arguments: all) func isReported(_ damage: Damage) throws {
        var made = try Made()
        damage.change(&made)
        let resolution = try made.resolution()
        let errors = resolution.problems.errors
        #expect(!resolution.fits)
        #expect(Set(errors.map(\.code)) == Set(damage.expected.map(\.code)), "\(errors)")
        #expect(errors.count == damage.expected.count, "\(errors)")
        for expected in damage.expected {
            let found = errors.filter {
                $0.code == expected.code
                    && (expected.tensor == nil || $0.tensor?.hasSuffix(expected.tensor ?? "") == true)
            }
            let problem = try #require(found.first, "\(expected)")
            #expect(problem.file?.hasPrefix(made.scratch.path) == true)
            for part in expected.parts { #expect(problem.message.contains(part), "\(problem.message)") }
            let needsNoHint = ["bad-dtype", "duplicate-tensor", "row-count", "empty-adapter", "foreign-tensor"]
            #expect(problem.hint != nil || needsNoHint.contains(problem.code), "\(problem)")
        }
    }

    /// All damage of one adapter comes out in one run.
    @Test func allAtOnce() throws {
        var made = try Made()
        let chosen = [
            "missing B", "unknown name", "unused pattern", "module that the base lacks", "row beyond", "not targeted",
        ]
        let damages = Self.all.filter { chosen.contains($0.testDescription) }
        #expect(damages.count == chosen.count)
        for damage in damages { damage.change(&made) }
        made.config["use_qalora"] = "true"
        let errors = try made.resolution().problems.errors
        #expect(Set(errors.map(\.code)) == Set(damages.flatMap(\.expected).map(\.code) + ["qalora"]))
        #expect(errors.count == chosen.count + 1)
        #expect(try made.resolution().problems == made.resolution().problems)
    }
}
