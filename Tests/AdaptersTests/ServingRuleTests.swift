import Fixtures
import Foundation
import Problems
import Safetensors
import Testing

@testable import Adapters

/// The rules of programs that load adapters: each is broken once, and a sound adapter breaks none.
@Suite struct ServingRuleTests {
    /// What a case breaks: the program's rule, and how the pair has to be changed for it.
    struct Case: Sendable, CustomStringConvertible {
        let target: ServingTarget
        let code: String
        var needsBase = false
        var file = "adapter_model.safetensors"
        let change: @Sendable (inout Made) -> Void

        var description: String { "\(target.rawValue) \(code)" }
    }

    private static func set(_ field: String, _ value: String) -> @Sendable (inout Made) -> Void {
        { $0.config[field] = value }
    }

    private static func add(_ name: String, _ shape: [Int]) -> @Sendable (inout Made) -> Void {
        { $0.adapter.append((name, "F32", shape)) }
    }

    private static func rename(_ change: @escaping @Sendable (String) -> String) -> @Sendable (inout Made) -> Void {
        { made in made.adapter = made.adapter.map { (change($0.name), $0.dtype, $0.shape) } }
    }

    private static let q = Made.prefix + "0.self_attn.q_proj"

    private static let rank = { @Sendable (rank: Int) in
        { @Sendable (made: inout Made) in
            made.config["r"] = "\(rank)"
            for at in made.adapter.indices {
                let isDown = made.adapter[at].name.contains("lora_A")
                made.adapter[at].shape[isDown ? 0 : 1] = rank
            }
        }
    }

    private static let embedding: @Sendable (inout Made) -> Void = { made in
        let stem = "base_model.model.model.embed_tokens.lora_embedding_"
        made.adapter += [(stem + "A", "F32", [2, 16]), (stem + "B", "F32", [8, 2])]
        made.config["target_modules"] = #"["q_proj","v_proj","embed_tokens"]"#
    }

    private static let head: @Sendable (inout Made) -> Void = { made in
        let stem = "base_model.model.lm_head.lora_"
        made.adapter += [(stem + "A.weight", "F32", [2, 8]), (stem + "B.weight", "F32", [16, 2])]
        made.config["target_modules"] = #"["q_proj","v_proj","lm_head"]"#
    }

    private static let convolution: @Sendable (inout Made) -> Void = { made in
        made.adapter += [
            ("base_model.model.stem.lora_A.weight", "F32", [2, 4, 3, 3]),
            ("base_model.model.stem.lora_B.weight", "F32", [8, 2, 1, 1]),
        ]
        made.config["target_modules"] = #"["q_proj","v_proj","stem"]"#
    }

    private static let wrapped = rename { $0.replacingOccurrences(of: ".weight", with: ".default.weight") }
    private static let bare = rename { $0.replacingOccurrences(of: "base_model.model.", with: "") }
    private static let moved = rename { $0.replacingOccurrences(of: "model.layers", with: "model.decoder.layers") }
    private static let tokens: @Sendable (inout Made) -> Void = { made in
        made.adapter.append(
            ("base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", "F32", [2, 8]))
        made.config["trainable_token_indices"] = "[1,2]"
    }
    private static let experts: @Sendable (inout Made) -> Void = { made in
        let stem = Made.prefix + "0.mlp.experts.lora_"
        made.adapter += [(stem + "A.weight", "F32", [8, 8]), (stem + "B.weight", "F32", [8, 8])]
        made.config["target_parameters"] = #"["mlp.experts.down_proj"]"#
    }
    private static let biases: @Sendable (inout Made) -> Void = { made in
        for layer in 0..<2 {
            for (name, rows) in [("q_proj", 12), ("v_proj", 4)] {
                made.adapter.append((Made.prefix + "\(layer).self_attn.\(name).lora_B.bias", "F32", [rows]))
            }
        }
        made.config["lora_bias"] = "true"
    }
    private static let copy = add("base_model.model.model.embed_tokens.base_layer.weight", [16, 8])
    private static let norm = add(Made.prefix + "0.input_layernorm.weight", [8])

    private static let ofPEFT: [Case] = [
        Case(target: .peft, code: "file-name", file: "style.safetensors") { _ in },
        Case(target: .peft, code: "no-prefix", change: bare),
        Case(target: .peft, code: "wrapped-name", change: wrapped),
        Case(target: .peft, code: "not-targeted", change: set("target_modules", #"["q_proj"]"#)),
        Case(target: .peft, code: "wrong-prefix", needsBase: true, change: moved),
        Case(target: .peft, code: "unknown-method", change: set("peft_type", #""NEW""#)),
        Case(target: .peft, code: "unread-method", change: set("peft_type", #""PREFIX_TUNING""#)),
        Case(target: .peft, code: "unknown-field", change: set("new_field", "3")),
        Case(target: .peft, code: "target-parameters", change: experts),
        Case(target: .peft, code: "trainable-tokens", change: tokens),
        Case(target: .peft, code: "lora-bias", change: biases),
        Case(target: .peft, code: "dora", change: set("use_dora", "true")),
    ]

    private static let ofVLLM: [Case] = [
        Case(target: .vllm, code: "file-name", file: "style.safetensors") { _ in },
        Case(target: .vllm, code: "not-lora", change: set("peft_type", #""IA3""#)),
        Case(target: .vllm, code: "missing-field") { $0.config["lora_alpha"] = nil },
        Case(target: .vllm, code: "dora", change: set("use_dora", "true")),
        Case(target: .vllm, code: "bias", change: set("bias", #""all""#)),
        Case(target: .vllm, code: "lora-bias", change: biases),
        Case(target: .vllm, code: "modules-to-save", change: set("modules_to_save", #"["lm_head"]"#)),
        Case(target: .vllm, code: "saved-weights", change: add("base_model.model.lm_head.weight", [16, 8])),
        Case(target: .vllm, code: "trainable-tokens", change: tokens),
        Case(target: .vllm, code: "changed-base", change: set("init_lora_weights", #""pissa""#)),
        Case(target: .vllm, code: "activated-lora", change: set("alora_invocation_tokens", "[1]")),
        Case(target: .vllm, code: "layer-replication", change: set("layer_replication", "[[0,2]]")),
        Case(target: .vllm, code: "block-diagonal", change: set("use_bdlora", #"{"a":1}"#)),
        Case(target: .vllm, code: "ignored-variant", change: set("arrow_config", "{}")),
        Case(target: .vllm, code: "unknown-field", change: set("new_field", "3")),
        Case(target: .vllm, code: "qalora", change: set("use_qalora", "true")),
        Case(target: .vllm, code: "wrapped-name", change: wrapped),
        Case(target: .vllm, code: "convolution", change: convolution),
        Case(target: .vllm, code: "wrong-prefix", needsBase: true, change: moved),
        Case(target: .vllm, code: "embedding-vocabulary", needsBase: true) { made in
            embedding(&made)
            made.baseConfig = #"{"model_type":"llama","architectures":["LlamaForCausalLM"],"vocab_size":17}"#
        },
        Case(target: .vllm, code: "rank-limit") { rank(520)(&$0) },
        Case(target: .vllm, code: "rank-option") { rank(24)(&$0) },
        Case(target: .vllm, code: "classifier-head", change: set("modules_to_save", #"["score"]"#)),
        Case(target: .vllm, code: "scale-pattern", change: set("alpha_pattern", #"{"q_proj":8}"#)),
        Case(target: .vllm, code: "embedding-copy", change: copy),
        Case(target: .vllm, code: "target-parameters", change: experts),
        Case(target: .vllm, code: "embedding", change: embedding),
        Case(target: .vllm, code: "no-prefix", change: bare),
    ]

    private static let ofLlamaCpp: [Case] = [
        Case(target: .llamaCpp, code: "file-name", file: "style.safetensors") { _ in },
        Case(target: .llamaCpp, code: "not-lora", change: set("peft_type", #""IA3""#)),
        Case(target: .llamaCpp, code: "missing-field") { $0.config["lora_alpha"] = nil },
        Case(target: .llamaCpp, code: "dora", change: set("use_dora", "true")),
        Case(target: .llamaCpp, code: "saved-weights", change: add("base_model.model.lm_head.weight", [16, 8])),
        Case(target: .llamaCpp, code: "norm-weights", change: norm),
        Case(target: .llamaCpp, code: "trainable-tokens", change: tokens),
        Case(target: .llamaCpp, code: "lora-bias", change: biases),
        Case(target: .llamaCpp, code: "convolution", change: convolution),
        Case(target: .llamaCpp, code: "target-parameters", change: experts),
        Case(target: .llamaCpp, code: "wrapped-name", change: wrapped),
        Case(target: .llamaCpp, code: "rslora", change: set("use_rslora", "true")),
        Case(target: .llamaCpp, code: "alpha-pattern", change: set("alpha_pattern", #"{"q_proj":8}"#)),
        Case(target: .llamaCpp, code: "zero-alpha", change: set("lora_alpha", "0")),
        Case(target: .llamaCpp, code: "changed-base", change: set("init_lora_weights", #""pissa""#)),
        Case(target: .llamaCpp, code: "layer-replication", change: set("layer_replication", "[[0,2]]")),
        Case(target: .llamaCpp, code: "block-diagonal", change: set("use_bdlora", #"{"a":1}"#)),
        Case(target: .llamaCpp, code: "ignored-variant", change: set("arrow_config", "{}")),
        Case(target: .llamaCpp, code: "unknown-field", change: set("new_field", "3")),
        Case(target: .llamaCpp, code: "qalora", change: set("use_qalora", "true")),
        Case(target: .llamaCpp, code: "tied-head", needsBase: true) { made in
            head(&made)
            made.base.removeAll { $0.name == "lm_head.weight" }
            made.baseConfig = made.baseConfig.replacingOccurrences(of: "false", with: "true")
        },
        Case(target: .llamaCpp, code: "wrong-prefix", needsBase: true, change: moved),
        Case(target: .llamaCpp, code: "embedding-copy", change: copy),
        Case(target: .llamaCpp, code: "conversion") { _ in },
        Case(target: .llamaCpp, code: "no-base-name") { _ in },
        Case(target: .llamaCpp, code: "activated-lora", change: set("alora_invocation_tokens", "[1]")),
    ]

    /// What PEFT's directories are to the other two, and files of theirs to PEFT's readers.
    private static let ofOthers: [Case] = [
        Case(target: .mlx, code: "other-format") { _ in }, Case(target: .diffusers, code: "other-format") { _ in },
    ]

    private static let cases = ofPEFT + ofVLLM + ofLlamaCpp + ofOthers

    private func problems(_ one: Case) throws -> [Problem] {
        var made = try Made()
        one.change(&made)
        let paths = try made.write()
        if one.file != "adapter_model.safetensors" {
            try FileManager.default.moveItem(
                atPath: paths.adapter + "/adapter_model.safetensors", toPath: paths.adapter + "/" + one.file)
        }
        let adapter = try Adapter(path: paths.adapter)
        let base = one.needsBase ? try Checkpoint.open(path: paths.base) : nil
        let facts = ServingFacts(adapter, base: base, resolution: base.map { Resolution(adapter: adapter, base: $0) })
        return one.target.problems(facts)
    }

    @Test(arguments: cases) func broken(_ one: Case) throws {
        let found = try problems(one)
        let rules = one.target.rules.filter { $0.code == one.code }
        let problem = try #require(found.first { $0.code == one.code }, "\(found.codes)")
        #expect(rules.map(\.severity).contains(problem.severity))
        #expect(!problem.message.isEmpty && (problem.severity == .note || problem.hint != nil))
        // Nothing else stands against it.
        #expect(found.errors.allSatisfy { $0.code == one.code })
    }

    @Test(arguments: [ServingTarget.peft, .vllm, .llamaCpp]) func sound(_ target: ServingTarget) throws {
        let one = Case(target: target, code: "", needsBase: true) { $0.config["base_model_name_or_path"] = #""base""# }
        #expect(try problems(one).codes == (target == .llamaCpp ? ["note conversion"] : []))
    }

    /// A pattern of ranks alone is right in llama.cpp, which divides by the rank of each tensor.
    @Test func rankPatternIsRightInLlamaCpp() throws {
        let change: @Sendable (inout Made) -> Void = { made in
            for at in made.adapter.indices where made.adapter[at].name.contains("v_proj") {
                made.adapter[at].shape[made.adapter[at].name.contains("lora_A") ? 0 : 1] = 4
            }
            made.config["rank_pattern"] = #"{"v_proj":4}"#
        }
        #expect(try problems(Case(target: .llamaCpp, code: "", change: change)).errors.isEmpty)
        let vllm = try problems(Case(target: .vllm, code: "", change: change))
        #expect(
            vllm.map(\.message) == [
                "gives 'model.layers.0.self_attn.v_proj' the scale 1.0 by a pattern, but vLLM up to 0.30 takes 2.0 for all "
                    + "(and 1 more like it)"
            ])
    }

    // MARK: Other dialects

    /// Files by name: tensors and their shapes, and a config.
    private func problems(
        _ target: ServingTarget, _ tensors: [(String, [Int])], file: String = "adapters.safetensors", config: String?,
        metadata: [String: String] = [:]
    ) throws -> [Problem] {
        let scratch = try Scratch()
        let made = TensorFile(
            tensors.map { name, shape in
                .init(name, "F32", shape, bytes: [UInt8](repeating: 0x3C, count: 4 * shape.reduce(1, *)))
            }, metadata: metadata)
        try scratch.write("adapter/" + file, made.encoded)
        if let config { try scratch.write("adapter/adapter_config.json", config) }
        return target.problems(ServingFacts(try Adapter(path: scratch("adapter"))))
    }

    private static func mlx(_ fields: String, type: String = "lora") -> String {
        #"{"fine_tune_type":"\#(type)",\#(fields)}"#
    }

    private static let pair = [("model.layers.3.mlp.up.lora_a", [8, 2]), ("model.layers.3.mlp.up.lora_b", [2, 6])]
    private static let expert = [
        ("model.layers.3.mlp.experts.lora_a", [3, 2, 8]), ("model.layers.3.mlp.experts.lora_b", [3, 6, 2]),
    ]
    private static let outside = [("lm_head.lora_a", [8, 2]), ("lm_head.lora_b", [2, 6])]
    private static let all = #""num_layers":-1,"lora_parameters":{"rank":2,"scale":20,"dropout":0"#

    @Test func rulesOfMLX() throws {
        #expect(try problems(.mlx, Self.pair, config: Self.mlx(Self.all + "}")).isEmpty)
        let broken: [(code: String, tensors: [(String, [Int])], config: String)] = [
            ("num-layers", Self.pair, Self.mlx(#""lora_parameters":{"rank":2,"scale":20,"dropout":0}"#)),
            ("lora-parameters", Self.pair, Self.mlx(#""num_layers":4,"lora_parameters":{"scale":20}"#)),
            ("rank", Self.pair, Self.mlx(Self.all.replacingOccurrences(of: "2,", with: "3,") + "}")),
            ("outside-layers", Self.outside, Self.mlx(Self.all + "}")),
            ("keys", Self.pair, Self.mlx(Self.all + #","keys":["mlp.down"]}"#)),
            ("magnitude", Self.pair + [("model.layers.3.mlp.up.m", [6])], Self.mlx(Self.all + "}")),
            ("dora-experts", Self.expert, Self.mlx(Self.all + "}", type: "dora")),
        ]
        for one in broken {
            #expect(try problems(.mlx, one.tensors, config: one.config).codes == ["error " + one.code])
        }
        let named = Self.mlx(Self.all + #","keys":["mlp.up","lm_head"]}"#)
        #expect(try problems(.mlx, Self.pair + Self.outside, config: named).isEmpty)
        #expect(
            try problems(.mlx, Self.pair, file: "style.safetensors", config: Self.mlx(Self.all + "}")).codes
                == ["error file-name"])
        for target in [ServingTarget.peft, .vllm, .llamaCpp] {
            let found = try problems(target, Self.pair, config: Self.mlx(Self.all + "}"))
            #expect(found.codes == ["error other-format"])
        }
    }

    @Test func layersAndNamesOfMLX() throws {
        let scratch = try Scratch()
        let made = try Made()
        let (base, _) = try made.write()
        try made.scratch.write(
            "base/config.json",
            made.baseConfig.replacingOccurrences(of: "{", with: #"{"num_hidden_layers":2,"#))
        for (path, code) in [("model", "layers"), ("model.decoder", "wrong-prefix")] {
            let stem = "\(path).layers.0.self_attn.q_proj.lora_"
            try scratch.write(
                "adapter/adapters.safetensors",
                Made.file([(stem + "a", "F32", [8, 2]), (stem + "b", "F32", [2, 12])]))
            let fields = path == "model" ? Self.all.replacingOccurrences(of: "-1", with: "1") : Self.all
            try scratch.write("adapter/adapter_config.json", Self.mlx(fields + "}"))
            let adapter = try Adapter(path: scratch("adapter"))
            let checkpoint = try Checkpoint.open(path: base)
            let facts = ServingFacts(
                adapter, base: checkpoint, resolution: Resolution(adapter: adapter, base: checkpoint))
            #expect(facts.problems.isEmpty)
            #expect(ServingTarget.mlx.problems(facts).codes == ["error " + code])
        }
    }

    @Test func rulesOfDiffusers() throws {
        let pair = { (stem: String) in [(stem + ".lora_A.weight", [2, 8]), (stem + ".lora_B.weight", [6, 2])] }
        let kohya = { (stem: String) in [(stem + ".lora_down.weight", [2, 8]), (stem + ".lora_up.weight", [6, 2])] }
        let metadata = ["lora_adapter_metadata": #"{"unet.r":2,"unet.lora_alpha":2}"#]
        let old = [
            ("down_blocks.0.attn1.processor.to_q_lora.down.weight", [2, 8]),
            ("down_blocks.0.attn1.processor.to_q_lora.up.weight", [6, 2]),
        ]
        let cases: [(codes: [String], tensors: [(String, [Int])], metadata: [String: String])] = [
            ([], pair("unet.a.to_q"), metadata),
            ([], kohya("lora_unet_a_to_q") + [("lora_unet_a_to_q.alpha", [])], [:]),
            (["error no-component"], old, [:]),
            (["error component"], pair("controlnet.a.to_q"), [:]),
            (["error metadata-and-alpha"], pair("unet.a.to_q") + [("unet.a.to_q.alpha", [])], metadata),
            (["warning alpha-tensors"], pair("transformer.a.to_q") + [("transformer.a.to_q.alpha", [])], [:]),
            (["warning original-names"], pair("diffusion_model.a.to_q"), [:]),
            (["error dora"], kohya("lora_unet_a") + [("lora_unet_a.dora_scale", [6, 1])], [:]),
            (["error other-method"], kohya("lora_unet_a") + [("lora_unet_b.diff", [6, 8])], [:]),
            (["error component"], kohya("lycoris_a"), [:]),
            (["error no-translation"], kohya("lora_unet_joint_blocks_0_x_block_attn_proj"), [:]),
            (["warning transformer-names"], kohya("lora_transformer_a"), [:]),
        ]
        for one in cases {
            let found = try problems(
                .diffusers, one.tensors, file: "pytorch_lora_weights.safetensors", config: nil, metadata: one.metadata)
            #expect(found.codes == one.codes, "\(one.tensors[0].0)")
        }
    }

    // MARK: The table in the documentation

    @Test func everyRuleIsInTheDocumentation() throws {
        let root = URL(fileURLWithPath: TestFiles.root).deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: "formats/serving-rules.md"), encoding: .utf8)
        let titles: [ServingTarget: String] = [
            .peft: "PEFT", .vllm: "vLLM", .llamaCpp: "llama.cpp", .mlx: "mlx-lm", .diffusers: "diffusers",
        ]
        for target in ServingTarget.allCases {
            let parts = text.components(separatedBy: "\n## ")
            let section = try #require(parts.first { $0.hasPrefix((titles[target] ?? "") + "\n") }, "\(target)")
            let rows = Set(
                section.split(separator: "\n").filter { $0.hasPrefix("| `") }.map { row in
                    row.split(separator: "|").prefix(2).map { $0.trimmingCharacters(in: .whitespaces) }.joined(
                        separator: " ")
                })
            let wanted = Set(target.rules.map { "`\($0.code)` \($0.severity)" })
            #expect(rows == wanted, "\(target.rawValue)")
        }
    }

    /// Archives, and files that cannot be opened yet, are tested elsewhere.
    @Test func everyRuleOfPEFTsReadersIsBroken() {
        for target in [ServingTarget.peft, .vllm, .llamaCpp] {
            let rules = target.rules.filter { $0.dialects != [.gguf] && !["packed", "other-format"].contains($0.code) }
            #expect(Set(rules.map(\.code)) == Set(Self.cases.filter { $0.target == target }.map(\.code)))
        }
    }
}
