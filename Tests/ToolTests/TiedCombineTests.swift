import Fixtures
import Foundation
import Testing

/// Adapters that keep an embedding and its head tied (`ensure_weight_tying`): their factors are each other's transposes.
@Suite struct TiedCombineTests {
    private let scratch: Scratch
    private static let prefix = "base_model.model."

    init() throws { scratch = try Scratch() }

    private func turned(_ values: [Double], columns: Int) -> [Double] {
        (0..<columns).flatMap { column in stride(from: column, to: values.count, by: columns).map { values[$0] } }
    }

    /// LoRA on the embedding (12 × 6) and, transposed, on the head, as PEFT saves it.
    private func tied(_ name: String, rank: Int, alpha: Int) throws -> String {
        var random = SeededRandom(test: "tied \(name)")
        let (a, b) = (random.numbers(rank * 12), random.numbers(6 * rank))
        return try write(
            name, rank: rank, alpha: alpha, tying: true,
            [
                .init(Self.prefix + "model.embed_tokens.lora_embedding_A", "F32", [rank, 12], a),
                .init(Self.prefix + "model.embed_tokens.lora_embedding_B", "F32", [6, rank], b),
                .init(Self.prefix + "lm_head.lora_A.weight", "F32", [rank, 6], turned(b, columns: rank)),
                .init(Self.prefix + "lm_head.lora_B.weight", "F32", [12, rank], turned(a, columns: 12)),
            ])
    }

    private func write(
        _ name: String, rank: Int, alpha: Int, tying: Bool, _ tensors: [TensorFile.Tensor]
    ) throws -> String {
        let config: [String: Any] = [
            "peft_type": "LORA", "r": rank, "lora_alpha": alpha,
            "target_modules": tying ? ["embed_tokens"] : [name], "ensure_weight_tying": tying,
        ]
        _ = try scratch.directory(name)
        try scratch.write("\(name)/adapter_model.safetensors", TensorFile(tensors).encoded)
        let text = try JSONSerialization.data(withJSONObject: config)
        try scratch.write("\(name)/adapter_config.json", [UInt8](text))
        return scratch(name)
    }

    private func linear(_ name: String) throws -> String {
        var random = SeededRandom(test: "linear \(name)")
        return try write(
            name, rank: 1, alpha: 1, tying: false,
            [
                .init("\(Self.prefix)model.\(name).lora_A.weight", "F32", [1, 6], random.numbers(6)),
                .init("\(Self.prefix)model.\(name).lora_B.weight", "F32", [12, 1], random.numbers(12)),
            ])
    }

    @Test(arguments: [
        ["stack", ":0.3", ":0.7"], ["subtract", "", ":2.5"], ["svd", "", ":0.5", "--rank", "2"],
        ["ties", "", "", "--density", "0.5", "--rank", "3"],
    ]) func theTieIsKept(_ words: [String]) throws {
        let operands = [try tied("a", rank: 2, alpha: 3) + words[1], try tied("b", rank: 3, alpha: 5) + words[2]]
        let answer = Tools.run(
            "adapter-combine", [words[0]] + operands + ["-o", scratch("out")] + words.dropFirst(3))
        try #require(answer.status == 0, "\(answer.err)")
        let tensors = try tensors(in: scratch("out"))
        let value = { (name: String) throws in try #require(tensors[Self.prefix + name]) }
        let (a, b) = (
            try value("model.embed_tokens.lora_embedding_A"), try value("model.embed_tokens.lora_embedding_B")
        )
        #expect(try value("lm_head.lora_A.weight").values == turned(b.values, columns: b.shape[1]))
        #expect(try value("lm_head.lora_B.weight").values == turned(a.values, columns: a.shape[1]))
        let config = try object(in: scratch("out") + "/adapter_config.json")
        #expect(config["ensure_weight_tying"] as? Bool == true)
    }

    /// An adapter that touches neither embedding nor head goes with one that ties them, in any order.
    @Test(arguments: [true, false]) func theFlagStays(_ isFirst: Bool) throws {
        let operands = [try tied("a", rank: 2, alpha: 3), try linear("up_proj")]
        let answer = Tools.combine("stack", isFirst ? operands : operands.reversed(), scratch("out"))
        try #require(answer.status == 0, "\(answer.err)")
        let config = try object(in: scratch("out") + "/adapter_config.json")
        #expect(config["ensure_weight_tying"] as? Bool == true)
        #expect(config["target_modules"] as? [String] == ["embed_tokens", "up_proj"])
    }

    @Test func oneThatChangesTheHeadAloneIsRefused() throws {
        let operands = [try tied("a", rank: 2, alpha: 3), try linear("lm_head")]
        let answer = Tools.combine("stack", operands, scratch("out"))
        #expect(answer.status == 1)
        #expect(
            answer.errors.count == 1 && answer.errors[0].contains("while another of the adapters keeps the two tied"))
        #expect(!exists(scratch("out")))
    }
}
