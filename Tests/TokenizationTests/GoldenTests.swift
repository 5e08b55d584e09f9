import Testing
import Tokenization

/// What the `tokenizers` library gave for the same files (Tests/Golden/tokenizer_files.py).
@Suite struct GoldenTests {
    @Test(arguments: Golden.styles) func encodes(_ style: String) throws {
        let tokenizer = try Golden.tokenizer(style)
        let cases = try Golden.cases(style)
        #expect(cases.count >= 60)
        for one in cases {
            #expect(try tokenizer.encode(Array(one.text.utf8)) == one.ids, "\(one.text)")
            #expect(try tokenizer.encode(Array(one.text.utf8), addsSpecial: false) == one.plain, "\(one.text)")
        }
    }

    @Test(arguments: Golden.styles) func decodes(_ style: String) throws {
        let tokenizer = try Golden.tokenizer(style)
        for one in try Golden.cases(style) {
            // The library repairs what is no UTF-8, as Swift does.
            let decoded = try tokenizer.decode(one.ids, skipsSpecial: false)
            #expect(String(decoding: decoded, as: UTF8.self).utf8.elementsEqual(one.decoded.utf8), "\(one.text)")
            let skipped = try tokenizer.decode(one.ids, skipsSpecial: true)
            #expect(String(decoding: skipped, as: UTF8.self).utf8.elementsEqual(one.skipped.utf8), "\(one.text)")
        }
    }

    @Test func namesAndSizes() throws {
        let gpt2 = try Golden.tokenizer("gpt2")
        #expect(gpt2.vocabularySize == 520 && gpt2.specialIDs == [0])
        #expect(gpt2.id(of: "<|endoftext|>") == 0 && gpt2.token(0) == "<|endoftext|>")
        #expect(gpt2.token(1) == "!" && gpt2.id(of: "Ġ") != nil && gpt2.id(of: " ") == nil)
        let llama = try Golden.tokenizer("llama3")
        #expect(llama.vocabularySize == 525 && llama.specialIDs == [520, 521, 522, 523, 524])
        #expect(llama.id(of: "<|eot_id|>") == 524 && llama.token(520) == "<|begin_of_text|>")
        let qwen = try Golden.tokenizer("qwen2")
        #expect(qwen.vocabularySize == 527 && qwen.specialIDs == [520, 521, 522])
        // A normalized token is found by its normalized form, and called so.
        #expect(qwen.id(of: "e\u{301}tude") == 526)
        #expect(qwen.token(526)?.utf8.elementsEqual("étude".precomposed.utf8) == true)
        for tokenizer in [gpt2, llama, qwen] {
            #expect(tokenizer.token(-1) == nil && tokenizer.token(tokenizer.vocabularySize) == nil)
        }
    }
}

extension String {
    /// The same with "é" as one character, whatever the editor made of it.
    fileprivate var precomposed: String { "\u{E9}" + dropFirst() }
}
