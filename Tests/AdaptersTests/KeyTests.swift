import Fixtures
import Foundation
import Problems
import Testing

@testable import Adapters

@Suite struct KeyTests {
    private static let q = "model.layers.0.self_attn.q_proj"

    @Test(
        arguments: [
            ("base_model.model.\(q).lora_A.weight", .down, q, nil),
            ("base_model.model.\(q).lora_B.weight", .up, q, nil),
            ("base_model.model.\(q).lora_B.bias", .upBias, q, nil),
            ("base_model.model.\(q).lora_A.default.weight", .down, q, "default"),
            ("base_model.model.\(q).lora_B.my-adapter.bias", .upBias, q, "my-adapter"),
            ("base_model.model.model.embed_tokens.lora_embedding_A", .embeddingDown, "model.embed_tokens", nil),
            (
                "base_model.model.model.embed_tokens.lora_embedding_B.default", .embeddingUp, "model.embed_tokens",
                "default"
            ),
            ("base_model.model.\(q).lora_magnitude_vector", .magnitude, q, nil),
            ("base_model.model.\(q).lora_magnitude_vector.weight", .magnitude, q, nil),
            ("base_model.model.\(q).lora_magnitude_vector.default.weight", .magnitude, q, "default"),
            ("base_model.model.\(q).lora_magnitude_vector.default", .magnitude, q, "default"),
            ("\(q).lora_A.weight", .down, q, nil),
            ("q_proj.lora_A.weight", .down, "q_proj", nil),
            ("module.base_model.model.\(q).lora_A.weight", .down, q, nil),
            ("_orig_mod.base_model.model.\(q).lora_A.weight", .down, q, nil),
            ("base_model.model._orig_mod.\(q).lora_A.weight", .down, q, nil),
            ("module._orig_mod.base_model.model.\(q).lora_B.default.weight", .up, q, "default"),
            (
                "_fsdp_wrapped_module.base_model.model.model.layers.0._fsdp_wrapped_module._checkpoint_wrapped_module.self_attn.q_proj"
                    + ".lora_A.weight", .down, q, nil
            ),
            (
                "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", .tokenRows,
                "model.embed_tokens", nil
            ),
            (
                "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta.default", .tokenRows,
                "model.embed_tokens",
                "default"
            ),
            ("base_model.model.model.embed_tokens.trainable_tokens_delta", .tokenRows, "model.embed_tokens", nil),
            ("base_model.model.score.weight", .parameter("weight"), "score", nil),
            ("base_model.model.score.modules_to_save.default.weight", .parameter("weight"), "score", "default"),
            ("base_model.model.score.modules_to_save.weight", .parameter("weight"), "score", nil),
            ("base_model.model.lm_head.original_module.weight", .original("weight"), "lm_head", nil),
            (
                "base_model.model.model.embed_tokens.token_adapter.base_layer.weight", .parameter("weight"),
                "model.embed_tokens", nil
            ),
            ("base_model.model.classifier.dense.modules_to_save.a.bias", .parameter("bias"), "classifier.dense", "a"),
            ("base_model.model.\(q).bias", .parameter("bias"), q, nil),
            ("base_model.model.\(q).base_layer.bias", .parameter("bias"), q, nil),
            ("base_model.model.model.embed_tokens.base_layer.weight", .parameter("weight"), "model.embed_tokens", nil),
            ("base_model.model.\(q).lora_E", .foreign(stem: "AdaLoRA"), q, nil),
            ("base_model.model.\(q).ia3_l", .foreign(stem: "IA3"), q, nil),
            ("base_model.model.\(q).hada_w1_a", .foreign(stem: "LoHa"), q, nil),
            ("prompt_embeddings", .foreign(stem: "prompt or prefix tuning"), "", nil),
            (
                "lora_unet_down_blocks.lora_down.weight", .foreign(stem: "kohya LoRA"),
                "lora_unet_down_blocks.lora_down", nil
            ),
            ("model.layers.0.self_attn.q_proj.lora_a", .foreign(stem: "MLX or GGUF LoRA"), q, nil),
        ] as [(String, AdapterKey.Role, String, String?)])
    func keys(_ name: String, _ role: AdapterKey.Role, _ module: String, _ adapterName: String?) {
        let key = AdapterKey(name)
        #expect(key.role == role)
        #expect(key.module == module)
        #expect(key.adapterName == adapterName)
        #expect(key.hasPrefix == name.contains("base_model"))
    }

    @Test func nesting() {
        let experts = "base_model.model.model.layers.0.mlp.experts"
        #expect(AdapterKey(experts + ".lora_A.weight").depth == 0)
        #expect(AdapterKey(experts + ".base_layer.lora_A.weight").depth == 1)
        #expect(AdapterKey(experts + ".base_layer.base_layer.lora_B.default.weight").depth == 2)
        #expect(AdapterKey(experts + ".base_layer.lora_A.weight").module == "model.layers.0.mlp.experts")
        let attention = AdapterKey("base_model.model.attn.base_layer.out_proj.lora_A.weight")
        #expect(attention.module == "attn.out_proj" && attention.depth == 0 && attention.isAttentionOutput)
        #expect(!AdapterKey("base_model.model.attn.out_proj.lora_A.weight").isAttentionOutput)
    }

    @Test(
        .timeLimit(.minutes(1)),
        arguments: [
            "", ".", "..", "lora_A", "lora_A.weight", "lora_A.weight.weight.weight", "base_model.model",
            "base_model.model.",
            "base_model.model.lora_A.weight", "module", "_orig_mod", "lora_B.bias", ".lora_A.weight", "x.lora_A",
            "x.lora_A.w.x",
            "token_adapter.trainable_tokens_delta", "trainable_tokens_delta", "base_layer.base_layer.lora_A.weight",
            "modules_to_save.default.weight", "x.lora_embedding_A.weight", "\u{0}", "é.lora_A.weight",
            String(repeating: ".", count: 1_000_000), String(repeating: "lora_A.", count: 100_000),
            String(repeating: "base_layer.", count: 100_000) + "lora_A.weight",
            String(repeating: "_orig_mod.", count: 100_000),
        ])
    func oddNamesAreNoTrouble(_ name: String) {
        let key = AdapterKey(name)
        if case .foreign = key.role { return }
        #expect(!key.module.isEmpty)
    }

    @Test func operands() throws {
        let scratch = try Scratch()
        try scratch.directory("style")
        try scratch.directory("style:2")
        try scratch.directory("C:x")
        let table: [(String, String, Double)] = [
            ("style", "style", 1), ("style:0.5", "style", 0.5), ("style:-1", "style", -1),
            ("style:1e-3", "style", 1e-3),
            ("style:+2", "style", 2), ("style:2", "style:2", 1), ("style:2:3", "style:2", 3), ("style:2.0", "style", 2),
            ("none:0.5", "none", 0.5), ("none:x/y", "none:x/y", 1), ("C:x", "C:x", 1), ("none:word", "none:word", 1),
            ("style:0", "style", 0), ("style:.5", "style", 0.5), ("none:nan", "none:nan", 1),
        ]
        for (text, path, weight) in table {
            let operand = try AdapterOperand(scratch(text))
            #expect(operand == AdapterOperand(path: scratch(path), weight: weight), "\(text)")
        }
        for text in [
            "nan", "inf", "-inf", "0x10", "", "1,5", "1e999", "--1", "one", "1 ", " 1", "0x1p3", "NaN", "infinity",
        ] {
            let problem = #expect(throws: Problem.self) { _ = try AdapterOperand(scratch("style:\(text)")) }
            #expect(problem?.kind == .usage && problem?.code == "bad-weight", "\(text)")
            #expect(problem?.hint?.contains("style:0.5") == true)
        }
        #expect(try AdapterOperand("").path.isEmpty)
        #expect(try AdapterOperand(":").path == ":")
    }
}
