import Testing

@testable import Tokenization

/// Parts of a tokenizer.json one by one, on a vocabulary of bytes and two merges.
@Suite struct PartTests {
    private func ids(_ document: Document, _ text: String) throws -> [Int] {
        try document.tokenizer().encode(Array(text.utf8))
    }

    @Test func merges() throws {
        #expect(try ids(Document(), "abcab a") == [257, 256, 32, 97])
        // A word that is a token but not put together so.
        #expect(try ids(Document.withModel("merges", "[]"), "abc") == [97, 98, 99])
        var whole = Document.withModel("merges", "[]")
        whole.model.append(("ignore_merges", "true"))
        #expect(try ids(whole, "abc abcd") == [257, 32, 97, 98, 99, 100])
    }

    /// The last of two equal merges counts, and long words are merged like short ones.
    @Test func ranks() throws {
        let vocabulary = Document.vocabulary(#","bc":259"#)
        var document = Document.withModel("vocab", vocabulary)
        document.model.removeAll { $0.name == "merges" }
        document.model.append(("merges", #"["a b","b c","a b"]"#))
        #expect(try ids(document, "abc") == [97, 259])
        let long = try ids(document, String(repeating: "abc", count: 100))
        #expect(long == Array(repeating: [97, 259], count: 100).flatMap(\.self))
    }

    @Test func unknownBytes() throws {
        let vocabulary = #"{"a":0,"<unk>":1}"#
        func document(_ more: [(name: String, json: String)]) -> Document {
            var result = Document()
            result.model = [("vocab", vocabulary), ("merges", "[]")] + more
            return result
        }
        #expect(try ids(document([]), "axxa") == [0, 0])
        #expect(try ids(document([("unk_token", #""<unk>""#)]), "axxa") == [0, 1, 1, 0])
        #expect(try ids(document([("unk_token", #""<unk>""#), ("fuse_unk", "true")]), "axxax") == [0, 1, 0, 1])
        let absent = try document([("unk_token", #""?""#)]).tokenizer()
        #expect(try absent.encode([97]) == [0])
        #expect(
            throws: bad(
                "'model.unk_token' is '?', which 'model.vocab' does not have, and the text has a byte without a token")
        ) { try absent.encode([97, 98]) }
    }

    @Test func templates() throws {
        let template = #"""
            {"type":"Sequence","processors":[{"type":"ByteLevel"},{"type":"TemplateProcessing","single":[
            {"SpecialToken":{"id":"x","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"y","type_id":0}}],
            "pair":[],"special_tokens":{"x":{"id":"x","ids":[7,8],"tokens":["x","x"]},"y":{"id":"y","ids":[9],"tokens":["y"]}}}]}
            """#
        let tokenizer = try Document.with("post_processor", template).tokenizer()
        #expect(try tokenizer.encode([97]) == [7, 8, 97, 9])
        #expect(try tokenizer.encode([97], addsSpecial: false) == [97])
        #expect(try tokenizer.encode([]) == [7, 8, 9])
    }

    @Test func withoutDecoder() throws {
        let tokenizer = try Document.with("decoder", "null").tokenizer()
        #expect(try tokenizer.decode([256, 32, 999, 97], skipsSpecial: true) == Array("ab Ġ a".utf8))
    }

    @Test func addedTokens() throws {
        let list = [
            Document.added(259, "<s>", ["special": true]), Document.added(260, "<w>", ["single_word": true]),
            Document.added(261, "<l>", ["lstrip": true]), Document.added(262, "<r>", ["rstrip": true]),
            Document.added(263, "<s>>"), Document.added(257, "abc"),
        ]
        let tokenizer = try Document.with("added_tokens", "[\(list.joined(separator: ","))]").tokenizer()
        #expect(try tokenizer.encode(Array("a<s>b".utf8)) == [97, 259, 98])
        // The longest at a place, and a token of the vocabulary within a word.
        #expect(try tokenizer.encode(Array("<s>>xabcx".utf8)) == [263, 120, 257, 120])
        #expect(try tokenizer.encode(Array("<w> <w>.<w>".utf8)) == [260, 32, 260, 46, 260])
        #expect(try tokenizer.encode(Array("_<w>".utf8)) == [95, 60, 119, 62])
        #expect(try tokenizer.encode(Array("a \u{3000}<l> b".utf8)) == [97, 261, 32, 98])
        #expect(try tokenizer.encode(Array("a <r>\n b".utf8)) == [97, 32, 262, 98])
        #expect(try tokenizer.decode([97, 259, 263], skipsSpecial: true) == Array("a<s>>".utf8))
        #expect(try tokenizer.decode([97, 259, 263], skipsSpecial: false) == Array("a<s><s>>".utf8))
        #expect(tokenizer.specialIDs == [259] && tokenizer.vocabularySize == 264)
    }

    /// Behaviour, invert, text, words with a bar between.
    @Test(arguments: [
        ("Removed", false, "ab", "a--bc-", "a|bc"), ("Isolated", false, "", "a--bc-", "a|-|-|bc|-"),
        ("Contiguous", false, "", "a--bc-", "a|--|bc|-"), ("MergedWithPrevious", false, "", "a--bc-", "a-|-|bc-"),
        ("MergedWithNext", false, "", "a--bc-", "a|-|-bc|-"), ("Removed", true, "", "a--bc-", "-|-|-"),
        ("Contiguous", true, "", "a--bc-", "a|--|bc|-"),
    ])
    func behaviours(_ behaviour: String, _ isInverted: Bool, _: String, _ text: String, _ words: String) throws {
        let split = #"{"type":"Split","pattern":{"String":"-"},"behavior":"\#(behaviour)","invert":\#(isInverted)}"#
        var reader = PreTokenizerReader(path: "t")
        let byteLevel = #"{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}"#
        try reader.read(
            .parse(Array(#"{"type":"Sequence","pretokenizers":[\#(split),\#(byteLevel)]}"#.utf8)), name: "pre_tokenizer"
        )
        let found = try reader.finish().words(Array(text.utf8), Expression.Search(size: text.utf8.count))
        let parts = found.ranges.map { String(decoding: found.text[$0], as: UTF8.self) }
        #expect(parts.joined(separator: "|") == words)
    }

    @Test func textThatIsNotUTF8() throws {
        let tokenizer = try Document().tokenizer()
        #expect(throws: notUTF8(at: 2)) { try tokenizer.encode([97, 98, 0xFF, 97]) }
        #expect(throws: notUTF8(at: 1)) { try tokenizer.encode([97, 0xED, 0xA0, 0x80]) }
        #expect(throws: notUTF8(at: 0)) { try tokenizer.encode([0xE2, 0x82]) }
    }
}
