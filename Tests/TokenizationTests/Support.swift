import Files
import Fixtures
import Problems
import StrictJSON

@testable import Tokenization

/// A tokenizer.json whose vocabulary is the 256 byte characters, "ab", "abc" and "<unk>", with parts to be replaced.
struct Document {
    var parts: [(name: String, json: String)] = [
        ("version", #""1.0""#), ("truncation", "null"), ("padding", "null"), ("added_tokens", "[]"),
        ("normalizer", "null"), ("pre_tokenizer", Self.byteLevel), ("post_processor", "null"),
        ("decoder", #"{"type":"ByteLevel"}"#),
    ]
    var model: [(name: String, json: String)] = [
        ("type", #""BPE""#), ("vocab", Self.vocabulary()), ("merges", #"[["a","b"],"ab c"]"#),
    ]

    static let byteLevel = #"{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}"#

    /// The id of "ab", after those of the bytes in their order; "abc" and "<unk>" follow.
    static let ab = 256

    static func vocabulary(_ more: String = "") -> String {
        var tokens: [String] = []
        for byte in UInt8.min...UInt8.max {
            var text: [UInt8] = []
            ByteAlphabet.append(byte, to: &text)
            tokens.append("\(JSONValue.string(String(decoding: text, as: UTF8.self)).encoded()):\(byte)")
        }
        return "{" + (tokens + [#""ab":256,"abc":257,"<unk>":258"#]).joined(separator: ",") + more + "}"
    }

    /// The token `content` as added_tokens has it, with other values of some fields.
    static func added(_ id: Int, _ content: String, _ fields: [String: Bool] = [:]) -> String {
        let flags = ["single_word", "lstrip", "rstrip", "normalized", "special"].map {
            #""\#($0)":\#(fields[$0] ?? false)"#
        }
        return #"{"id":\#(id),"content":"\#(content)",\#(flags.joined(separator: ","))}"#
    }

    /// A document with one part replaced, or taken away.
    static func with(_ name: String, _ json: String?) -> Document {
        var result = Document()
        result.parts.removeAll { $0.name == name }
        if let json { result.parts.append((name, json)) }
        return result
    }

    /// A document with one field of the model replaced, or taken away.
    static func withModel(_ name: String, _ json: String?) -> Document {
        var result = Document()
        result.model.removeAll { $0.name == name }
        if let json { result.model.append((name, json)) }
        return result
    }

    var text: String {
        func object(_ fields: [(name: String, json: String)]) -> String {
            "{" + fields.map { "\"\($0.name)\":\($0.json)" }.joined(separator: ",") + "}"
        }
        return object(parts + [("model", object(model))])
    }

    func tokenizer() throws(Problem) -> BytePairTokenizer {
        try BytePairTokenizer(json: Array(text.utf8), path: "t/tokenizer.json")
    }
}

/// A golden tokenizer and its cases.
struct Golden {
    struct Case {
        var text: String
        var ids: [Int]
        var plain: [Int]
        var decoded: String
        var skipped: String
    }

    static let styles = ["gpt2", "llama3", "qwen2"]

    static func tokenizer(_ style: String) throws -> BytePairTokenizer {
        let path = "\(TestFiles.golden)/vocabularies/\(style)/tokenizer.json"
        return try BytePairTokenizer(json: try bytes(of: path), path: path)
    }

    static func cases(_ style: String) throws -> [Case] {
        let document = try JSONValue.parse(try bytes(of: "\(TestFiles.golden)/vocabularies/\(style)/cases.json"))
        func ids(_ value: JSONValue?) -> [Int]? { value?.array.map { $0.compactMap { $0.number?.int } } }
        return (document.object?["cases"]?.array ?? []).compactMap { row in
            guard let row = row.object, let text = row["text"]?.string, let all = ids(row["ids"]) else { return nil }
            return Case(
                text: text, ids: all, plain: ids(row["plain"]) ?? all, decoded: row["decoded"]?.string ?? text,
                skipped: row["skipped"]?.string ?? text)
        }
    }
}
