import Problems
import Testing

@testable import Tokenization

func bad(_ message: String) -> Problem { Problem(.malformed, "bad-tokenizer", file: "t/tokenizer.json", message) }

func notUTF8(at place: Int) -> Problem {
    Problem(
        .malformed, "not-utf8", "has a byte that is not UTF-8, but this tokenizer takes text only",
        hint: "convert the text to UTF-8", offset: place)
}

/// Files that are refused, and the words.
@Suite struct RefusalTests {
    private func problem(_ document: Document) -> Problem? {
        do throws(Problem) {
            _ = try document.tokenizer()
            return nil
        } catch {
            return error
        }
    }

    /// A part, its value, the problem's code behind "tokenizer-", the message.
    @Test(arguments: [
        ("version", #""2.0""#, "version", "'version' is 2.0, but 1.0 was needed"),
        ("extra", "1", "field", "'extra' is not a part that version 1.0 has"),
        (
            "normalizer", #"{"type":"NFKC"}"#, "normalizer",
            "'normalizer' is 'NFKC', but only NFC, NFD and Sequence are supported"
        ),
        (
            "normalizer", #"{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Lowercase"}]}"#, "normalizer",
            "'normalizer[1]' is 'Lowercase', but only NFC, NFD and Sequence are supported"
        ),
        (
            "pre_tokenizer", #"{"type":"Metaspace"}"#, "pre-tokenizer",
            "'pre_tokenizer' is 'Metaspace', but only ByteLevel, Split, Digits and Sequence are supported"
        ),
        (
            "pre_tokenizer", "null", "pre-tokenizer",
            "'pre_tokenizer' has no ByteLevel, but only byte-level vocabularies are supported"
        ),
        (
            "pre_tokenizer", #"{"type":"Sequence","pretokenizers":[\#(Document.byteLevel),\#(Document.byteLevel)]}"#,
            "pre-tokenizer", "'pre_tokenizer[1]' is a second ByteLevel"
        ),
        (
            "post_processor", #"{"type":"BertProcessing","sep":["a",1],"cls":["b",2]}"#, "post-processor",
            "'post_processor' is 'BertProcessing', but only ByteLevel, TemplateProcessing and Sequence are supported"
        ),
        (
            "post_processor", #"{"type":"TemplateProcessing","single":[],"pair":[],"special_tokens":{}}"#,
            "post-processor", "'post_processor.single' has the text 0 times, but only once is supported"
        ),
        (
            "decoder", #"{"type":"WordPiece"}"#, "decoder",
            "'decoder' is 'WordPiece', but only one ByteLevel is supported"
        ),
        ("decoder", #"{"type":"Sequence","decoders":[]}"#, "decoder", "'decoder' has no ByteLevel"),
        (
            "added_tokens", "[\(Document.added(259, String(repeating: "x", count: 1025)))]", "added-tokens",
            "'added_tokens[0]' has 1025 bytes, but at most 1024 are supported"
        ),
    ])
    func unsupportedParts(_ part: String, _ json: String, _ code: String, _ message: String) {
        #expect(
            problem(.with(part, json))
                == Problem(
                    .incompatible, "tokenizer-\(code)", file: "t/tokenizer.json", message,
                    hint: "make token ids with the library that wrote this file, and give these instead of text"))
    }

    @Test(arguments: [
        ("type", #""Unigram""#, "'model.type' is 'Unigram', but only BPE is supported"),
        ("dropout", "0.1", "'model.dropout' is 0.1, which makes ids random"),
        ("byte_fallback", "true", "'model.byte_fallback' is true, which byte-level vocabularies do not need"),
        (
            "continuing_subword_prefix", "\"##\"",
            "'model.continuing_subword_prefix' is '##', which byte-level vocabularies do not have"
        ),
        (
            "end_of_word_suffix", #""</w>""#,
            "'model.end_of_word_suffix' is '</w>', which byte-level vocabularies do not have"
        ),
    ])
    func unsupportedModels(_ field: String, _ json: String, _ message: String) {
        #expect(
            problem(.withModel(field, json))
                == Problem(
                    .incompatible, "tokenizer-model", file: "t/tokenizer.json", message,
                    hint: "make token ids with the library that wrote this file, and give these instead of text"))
    }

    @Test(arguments: [
        ("type", "3", "'model.type' is no text"), ("dropout", #""x""#, "'model.dropout' is no number"),
        ("vocab", nil, "'model.vocab' is no object of tokens and ids"), ("merges", nil, "'model.merges' is no list"),
        ("vocab", "[]", "'model.vocab' is no object of tokens and ids"),
        ("ignore_merges", "1", "'model.ignore_merges' is neither true nor false"),
        ("vocab", Document.vocabulary(#","x1":97"#), "'model.vocab' has the id 97 twice"),
        ("vocab", Document.vocabulary(#","x1":4000000000"#), "'model.vocab' has an id of 4000000000 for 260 tokens"),
        ("merges", #"["a b","b c"]"#, "'model.merges' needs the token 'bc' in entry 1, but 'model.vocab' has none"),
        ("merges", #"[["zz","b"]]"#, "'model.merges' needs the token 'zz' in entry 0, but 'model.vocab' has none"),
    ])
    func malformedModels(_ field: String, _ json: String?, _ message: String) {
        #expect(problem(.withModel(field, json)) == bad(message))
    }

    @Test(arguments: [
        ("added_tokens", "{}", "'added_tokens' is no list"),
        ("added_tokens", "[1]", "'added_tokens[0]' is no JSON object"),
        ("added_tokens", #"[{"id":259,"content":"x1"}]"#, "'added_tokens[0].single_word' is missing"),
        (
            "added_tokens", "[\(Document.added(300, "<s>"))]",
            "'added_tokens[0].id' is 300 for '<s>', but the tokenizers library gives it 259"
        ),
        (
            "added_tokens", "[\(Document.added(259, "<s>")),\(Document.added(260, "<s>"))]",
            "'added_tokens[1].content' is '<s>', as that of another token"
        ),
        (
            "added_tokens", "[\(Document.added(-1, "<s>"))]",
            "'added_tokens[0].id' is -1, but an id is a whole number from 0 to 4294967294"
        ),
        ("normalizer", "3", "'normalizer' is no JSON object"), ("normalizer", "{}", "'normalizer.type' is no text"),
        (
            "pre_tokenizer", #"{"type":"ByteLevel","use_regex":true}"#, "'pre_tokenizer.add_prefix_space' is missing"
        ),
        (
            "pre_tokenizer", #"{"type":"Split","pattern":{"Regex":"a"},"behavior":"isolated","invert":false}"#,
            "'pre_tokenizer.behavior' is 'isolated', which is none"
        ),
        (
            "pre_tokenizer", #"{"type":"Split","pattern":"a","behavior":"Isolated","invert":false}"#,
            "'pre_tokenizer.pattern' is neither a 'String' nor a 'Regex'"
        ),
        (
            "post_processor",
            #"{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}}],"special_tokens":{}}"#,
            "'post_processor.special_tokens' has no ids of 'x', which 'single' needs"
        ),
        (
            "post_processor", #"{"type":"TemplateProcessing","single":[{"Sequence":{"id":"B"}}]}"#,
            "'post_processor.single' has a piece that is neither a special token nor the sequence A"
        ),
    ])
    func malformedParts(_ part: String, _ json: String, _ message: String) {
        #expect(problem(.with(part, json)) == bad(message))
    }

    @Test func idsOfTheVocabularyAreNotGivenTwice() {
        // With a gap, the library's numbers for added tokens run into the vocabulary.
        var document = Document.with("added_tokens", "[\(Document.added(260, "<s>"))]")
        document.model[1].json = Document.vocabulary(#","x1":260"#)
        #expect(problem(document) == bad("'added_tokens[0].id' is 260, which 'model.vocab' gives to another token"))
        var twins = Document.with(
            "added_tokens",
            "[\(Document.added(259, "\\u1e69", ["normalized": true])),\(Document.added(260, "s\\u0323\\u0307", ["normalized": true]))]"
        )
        twins.parts.removeAll { $0.name == "normalizer" }
        twins.parts.append(("normalizer", #"{"type":"NFC"}"#))
        #expect(problem(twins) == bad("'added_tokens' has another token that is 's\u{323}\u{307}' once normalized"))
    }

    @Test func expressionsThatAreNone() {
        func split(_ pattern: String) -> Document {
            .with(
                "pre_tokenizer",
                #"{"type":"Split","pattern":{"Regex":"\#(pattern)"},"behavior":"Isolated","invert":false}"#)
        }
        func refusal(_ message: String) -> Problem {
            Problem(.malformed, "tokenizer-regex", file: "t/tokenizer.json", message)
        }
        #expect(
            problem(split("(a"))
                == refusal(
                    "'pre_tokenizer.pattern' has an expression that is none: end pattern with unmatched parenthesis"))
        #expect(
            problem(split(String(repeating: "(", count: 1000) + String(repeating: ")", count: 1000)))
                == refusal("'pre_tokenizer.pattern' has an expression that is none: parse depth limit over"))
        #expect(
            problem(split(String(repeating: "a", count: 20_000)))
                == refusal("'pre_tokenizer.pattern' has an expression of 20000 bytes, but at most 16384 make sense"))
        for (pattern, name) in [("a(?~b)", "(?~"), (#"\\Ga"#, #"\G"#)] {
            #expect(
                problem(split(pattern))
                    == Problem(
                        .incompatible, "tokenizer-regex", file: "t/tokenizer.json",
                        "'pre_tokenizer.pattern' has an expression with \(name)",
                        hint: "make token ids with the library that wrote this file, and give these instead of text"))
        }
    }

    @Test func brokenDocuments() {
        func problem(_ text: String) -> Problem? {
            do throws(Problem) {
                _ = try BytePairTokenizer(json: Array(text.utf8), path: "t/tokenizer.json")
                return nil
            } catch {
                return error
            }
        }
        #expect(problem("{}") == bad("has no 'model', so it is no tokenizer.json"))
        #expect(problem("")?.code == "json-syntax" && problem("[]")?.code == "json-syntax")
        #expect(problem(#"{"model":{"vocab":{"a":0,"a":1},"merges":[]}}"#)?.code == "json-duplicate")
        #expect(problem(#"{"model":{"vocab":{},"merges":[],"merges":[]}}"#)?.code == "json-duplicate")
        #expect(problem(#"{"model":{"vocab":{"a":-1},"merges":[]}}"#)?.code == "json-number")
        #expect(problem(#"{"model":{"vocab":{"a":4294967295},"merges":[]}}"#)?.code == "json-number")
        let merges = problem(#"{"model":{"vocab":{"a":0},"merges":["a a a"]}}"#)
        #expect(merges?.message == "'model.merges' has an entry that is not two tokens with a space between")
        #expect(merges?.offset == 36)
        let text = Document().text
        for cut in stride(from: 0, to: text.utf8.count, by: 97) {
            let problem = problem(String(decoding: Array(text.utf8)[..<cut], as: UTF8.self))
            #expect(problem?.kind == .malformed && problem?.file == "t/tokenizer.json")
        }
    }
}
