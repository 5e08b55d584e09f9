import Fixtures
import Problems
import Safetensors
import Testing

@testable import Adapters

@Suite struct ResolutionTests {
    /// Renames the base's tensors.
    private func made(_ rename: (String) -> String) throws -> Made {
        var made = try Made()
        for at in made.base.indices { made.base[at].name = rename(made.base[at].name) }
        return made
    }

    private func targets(_ resolution: Resolution) -> [String] { resolution.updates.map(\.name) }

    @Test func uniqueEndsAreFound() throws {
        for prefix in ["language_model.model.", "model.language_model.", "", "transformer."] {
            let resolution = try made { $0.replacing("model.", with: prefix) }.resolution()
            #expect(resolution.problems.isEmpty, "\(resolution.problems)")
            #expect(resolution.renamed.count == 4)
            #expect(targets(resolution).first == prefix + "layers.0.self_attn.q_proj.weight")
        }
    }

    @Test func aLayerNeverBecomesAnother() throws {
        var made = try made { $0.replacing("model.layers.1.", with: "decoder.layers.5.") }
        made.base.append(("decoder.layers.11.self_attn.q_proj.weight", "F32", [12, 8]))
        let errors = try made.resolution().problems.errors
        #expect(errors.map(\.code) == ["unmatched-module", "unmatched-module"])
        #expect(errors.allSatisfy { $0.tensor?.contains("layers.1.") == true })
    }

    @Test func ambiguityIsRefusedAndNamed() throws {
        var made = try made { "a." + $0 }
        made.base += made.base.map { ("b." + $0.name.dropFirst(2), $0.dtype, $0.shape) }
        let errors = try made.resolution().problems.errors
        #expect(errors.count == 4 && errors.allSatisfy { $0.code == "ambiguous-module" })
        #expect(errors[0].message.contains("'a.model.layers.0") && errors[0].message.contains("'b.model.layers.0"))
        // An exact name is never ambiguous, and a longer common end wins.
        made.base += try Made().base.map { ($0.name, $0.dtype, $0.shape) }
        // The other two copies are targets, too, for which the adapter has nothing.
        #expect(try made.resolution().problems.codes == ["warning missing-module"])
        #expect(try made.resolution().renamed.isEmpty)
    }

    /// In a model for text and images, both towers have layers; shapes tell them apart.
    @Test func shapesDecideBetweenTowers() throws {
        var made = try made { $0.replacing("model.layers", with: "language_model.model.layers") }
        for layer in 0..<2 {
            for name in ["q_proj", "v_proj"] {
                made.base.append(("vision_tower.layers.\(layer).self_attn.\(name).weight", "F32", [6, 6]))
            }
        }
        let resolution = try made.resolution()
        #expect(resolution.problems.isEmpty && resolution.updates.allSatisfy { $0.name.hasPrefix("language_model") })
    }

    /// What transformers 5 makes of T5's `tie_word_embeddings: false`: PEFT shows new rows of `shared` to all four.
    @Test(arguments: ["t5", "llama"]) func flagsThatAClassOverrides(_ type: String) throws {
        var made = try Made()
        let architecture = type == "t5" ? "T5ForConditionalGeneration" : "LlamaForCausalLM"
        made.baseConfig =
            "{\"model_type\":\"\(type)\",\"architectures\":[\"\(architecture)\"],\"tie_word_embeddings\":false}"
        for at in made.base.indices where made.base[at].name == "model.embed_tokens.weight" {
            made.base[at].name = "shared.weight"
        }
        try made.write()
        #expect(BaseTraits(try Checkpoint.open(path: made.scratch("base"))).isTied == (type == "t5"))
    }

    @Test func wrongSizeIsAMismatchEverywhere() throws {
        var made = try Made()
        for at in made.base.indices where made.base[at].name.contains("proj") { made.base[at].shape[1] = 16 }
        made.config["base_model_name_or_path"] = #""org/other-7B""#
        let errors = try made.resolution().problems.errors
        #expect(errors.count == 4 && errors.allSatisfy { $0.code == "shape-mismatch" })
        #expect(errors.allSatisfy { $0.hint?.contains("org/other-7B") == true })
        #expect(errors[0].message.contains("[12, 8]") && errors[0].message.contains("[12, 16]"))
    }

    @Test func twoModulesForOneTensor() throws {
        var made = try Made()
        for suffix in ["lora_A.weight", "lora_B.weight"] {
            let source = made.adapter[made.place("0.self_attn.q_proj." + suffix)]
            made.adapter.append(
                ("base_model.model.decoder.layers.0.self_attn.q_proj." + suffix, source.dtype, source.shape))
        }
        #expect(try made.resolution().problems.errors.map(\.code) == ["ambiguous-module"])
    }

    /// Weights with in = out do not show which way they lie.
    @Test func squareWeights() throws {
        var made = try Made()
        made.adapter = [
            (Made.prefix + "0.self_attn.o_proj.lora_A.weight", "F32", [2, 8]),
            (Made.prefix + "0.self_attn.o_proj.lora_B.weight", "F32", [8, 2]),
        ]
        made.config["target_modules"] = #"["o_proj"]"#
        // `target_modules` also matches layer 1, for which there is nothing.
        func isTransposed() throws -> Bool {
            let resolution = try made.resolution()
            #expect(resolution.problems.codes == ["warning missing-module"])
            return resolution.updates[0].terms[0].left.tensor.name.contains("lora_A")
        }
        #expect(try !isTransposed())
        made.config["fan_in_fan_out"] = "true"
        #expect(try !isTransposed(), "transformers' Llama has no Conv1D, whatever the flag says")
        made.baseConfig = "{}"
        #expect(try isTransposed(), "nothing else shows it")
        made.base.append(("model.layers.0.self_attn.q_proj.bias", "F32", [12]))
        #expect(try !isTransposed(), "a bias shows where the outputs are")
        made.baseConfig = #"{"model_type":"gpt2"}"#
        #expect(try isTransposed(), "the architecture knows best")
    }

    @Test func conv1D() throws {
        var made = try Made()
        for at in made.base.indices where made.base[at].name.contains("proj") { made.base[at].shape.reverse() }
        #expect(try made.resolution().problems.errors.map(\.code) == Array(repeating: "shape-mismatch", count: 4))
        made.baseConfig = #"{"model_type":"gpt2","architectures":["GPT2LMHeadModel"]}"#
        let resolution = try made.resolution()
        try #require(resolution.problems.isEmpty && !resolution.updates.isEmpty)
        let term = resolution.updates[0].terms[0]
        #expect(term.view == MatrixView(batches: 1, rows: 8, columns: 12))
        #expect(term.left.tensor.name.contains("lora_A") && term.left.columnStride == 8)
    }

    @Test func patternsGiveRanksAndScales() throws {
        var made = try Made()
        made.config["rank_pattern"] = #"{"1.self_attn.q_proj":4}"#
        made.config["alpha_pattern"] = #"{"q_proj":8,"v_proj":1.5}"#
        made.adapter[made.place("1.self_attn.q_proj.lora_A.weight")].shape = [4, 8]
        made.adapter[made.place("1.self_attn.q_proj.lora_B.weight")].shape = [12, 4]
        let resolution = try made.resolution()
        #expect(resolution.problems.isEmpty)
        #expect(resolution.updates.map { $0.terms[0].scale } == [4, 0.75, 2, 0.75])
        #expect(resolution.updates.map { $0.terms[0].rank } == [2, 2, 4, 2])
    }

    @Test func tokensOfTheMethodOfThatName() throws {
        var made = try Made()
        made.config = [
            "peft_type": #""TRAINABLE_TOKENS""#, "token_indices": "[3,5]", "target_modules": #"["embed_tokens"]"#,
        ]
        made.adapter = [("base_model.model.model.embed_tokens.trainable_tokens_delta", "F32", [2, 8])]
        let resolution = try made.resolution()
        #expect(resolution.problems.isEmpty, "\(resolution.problems)")
        #expect(resolution.updates.map(\.name) == ["model.embed_tokens.weight"])
        #expect(resolution.updates.first?.tokenRows?.rows == [3, 5])
        made.config["init_weights"] = "true"
        #expect(try made.resolution().problems.isEmpty)
        made.config["token_indices"] = "[3]"
        #expect(try made.resolution().problems.errors.map(\.code) == ["row-count"])
        made.adapter = []
        #expect(try !made.resolution().fits)
    }

    @Test func whatIsNoAdapter() throws {
        let made = try Made()
        let paths = try made.write()
        func refusal(_ path: String) throws -> Problem {
            try #require(throws: Problem.self) { try Adapter(path: path) }
        }
        #expect(try refusal(made.scratch("none")).kind == .missing)
        #expect(try refusal(paths.base).hint?.contains("BASE first") == true)
        #expect(try refusal(made.scratch.path).hint?.contains(paths.adapter) == true)
        try made.scratch.write("pickle/adapter_model.bin", [0x80, 2])
        #expect(try refusal(made.scratch("pickle")).code == "pickle")
        #expect(try refusal(made.scratch("pickle/adapter_model.bin")).code == "pickle")
        try made.scratch.write("bare/adapter_model.safetensors", Made.file(made.adapter))
        #expect(try refusal(made.scratch("bare")).code == "no-config")
        #expect(try refusal(made.scratch("bare/adapter_model.safetensors")).code == "no-config")
        #expect(try Adapter(path: paths.adapter + "/adapter_model.safetensors").modules.count == 4)
    }
}
