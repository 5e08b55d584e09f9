import Fixtures
import Testing

/// Two adapters that meet at one tensor.
@Suite struct TwoAdapterTests {
    private static func adapter(_ name: String) -> String { Golden.path(name) + "/adapter" }
    private static let base = Golden.path("tied-head-bf16") + "/base"

    /// The first parts the head from the embedding; what the second does to both still holds for both.
    @Test(arguments: [["tied-head-bf16", "tied-both-same-bf16"], ["tied-both-same-bf16", "tied-head-bf16"]])
    func aHeadThatOneAdapterParts(_ names: [String]) throws {
        let scratch = try Scratch()
        let adapters = names.map(Self.adapter)
        let answer = Tools.merge(Self.base, adapters, scratch("out"))
        #expect(answer.status == 0, "\(answer.err)")
        #expect(try object(in: scratch("out/config.json"))["tie_word_embeddings"] as? Bool == false)
        let options = ["--merged", scratch("out")]
        let verified = Tools.verify(Self.base, adapters[0], adapters[1], options: options)
        #expect(verified.status == 0, "\(verified.err)")
        #expect(verified.out.contains("largest distance 0 steps"))

        // The embedding is as the second adapter alone makes it; the head is that with the first one's delta.
        #expect(Tools.merge(Self.base, [Self.adapter("tied-both-same-bf16")], scratch("same")).status == 0)
        let (both, same) = try (tensors(in: scratch("out")), tensors(in: scratch("same")))
        #expect(both["model.embed_tokens.weight"] == same["model.embed_tokens.weight"])
        let head = try #require(both["lm_head.weight"]?.values)
        let start = try #require(same["model.embed_tokens.weight"]?.values)
        let unmerged = try #require(tensors(in: Self.base)["model.embed_tokens.weight"]?.values)
        let alone = try TensorFile(path: Golden.path("tied-head-bf16") + "/expected.safetensors")
        let parted = try #require(alone["lm_head.weight"]?.values)
        let largest = head.map(\.magnitude).max() ?? 0
        for at in head.indices {
            #expect(abs(head[at] - (start[at] + parted[at] - unmerged[at])) <= largest / 128)
        }
    }

    @Test(arguments: [["tied-resized-bf16", "tied-head-bf16"], ["tied-head-bf16", "tied-resized-bf16"]])
    func oneChangesTheVocabularyTheOtherDoesNot(_ names: [String]) throws {
        let scratch = try Scratch()
        let answer = Tools.merge(Self.base, names.map(Self.adapter), scratch("out"))
        #expect(answer.status == 1)
        let file = Self.adapter("tied-head-bf16") + "/adapter_model.safetensors"
        #expect(answer.errors.count == 1)
        #expect(answer.errors.first?.contains("error: \(file): tensor 'base_model.model.lm_head.lora_") == true)
        #expect(
            answer.errors.first?.hasSuffix("adapts 'lm_head.weight' [24, 16], which another adapter makes [27, 16]")
                == true, "\(answer.err)")
        #expect(scratch.names.isEmpty)
    }
}
