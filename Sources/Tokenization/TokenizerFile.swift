import Problems
import StrictJSON

/// What a `tokenizer.json` (version 1.0 of the `tokenizers` library) holds, checked part by part.
struct TokenizerFile {
    private(set) var model = BytePairModel()
    private(set) var normalizer: [Normalization.Form] = []
    private(set) var preTokenizer = PreTokenizer()
    /// Ids that `post_processor` puts before the text and behind it.
    private(set) var before: [Int] = []
    private(set) var behind: [Int] = []
    /// How tokens become text again.
    private(set) var decoder = Decoder.spaced
    private(set) var added: [AddedToken] = []

    enum Decoder {
        /// `ByteLevel`: characters become the bytes that they stand for.
        case bytes
        /// None: tokens as they are written, with a space between two.
        case spaced
    }

    /// Reads the file; `truncation` and `padding` are passed over, since whoever trains decides how long a text may be.
    init(json: [UInt8], path: String) throws(Problem) {
        do throws(Problem) {
            try Self.requireUTF8(json)
            try read(json, path)
        } catch {
            throw error.at(file: path)
        }
    }

    private static func requireUTF8(_ json: [UInt8]) throws(Problem) {
        do {
            _ = try UTF8Span(validating: json.span)
        } catch {
            throw Problem(
                .malformed, "json-utf8", "has bytes that are not UTF-8", offset: error.byteOffsets.lowerBound)
        }
    }

    private mutating func read(_ json: [UInt8], _ path: String) throws(Problem) {
        var reader = JSONReader(json)
        try reader.expectNoByteOrderMark()
        try reader.expect("{")
        var parts = JSONObject()
        var seen: Set<String> = []
        var modelReader = ModelReader(json: json, path: path)
        if !reader.take("}") {
            repeat {
                let key = try reader.string()
                guard seen.insert(key).inserted else {
                    throw reader.problem("duplicate", "has the key '\(key.excerpt)' twice")
                }
                try reader.expect(":")
                if key == "model" {
                    try modelReader.read(&reader)
                } else {
                    parts[key] = try JSONValue(from: &reader)
                }
            } while reader.take(",")
            try reader.expect("}")
        }
        try reader.expectEnd()
        guard seen.contains("model") else {
            throw Problem(.malformed, "bad-tokenizer", "has no 'model', so it is no tokenizer.json")
        }
        try checkKeys(parts, path)
        model = try modelReader.finish()
        if let value = parts["normalizer"], value != .null {
            normalizer = try NormalizerReader.read(value, path: path, name: "normalizer")
        }
        var stages = PreTokenizerReader(path: path)
        if let value = parts["pre_tokenizer"], value != .null { try stages.read(value, name: "pre_tokenizer") }
        preTokenizer = try stages.finish()
        if let value = parts["post_processor"], value != .null {
            (before, behind) = try PostProcessorReader.read(value, path: path, name: "post_processor")
        }
        if let value = parts["decoder"], value != .null {
            decoder = try DecoderReader.read(value, path: path)
        }
        if let value = parts["added_tokens"], value != .null {
            added = try AddedTokensReader.read(value, path: path, model: model)
        }
    }

    private func checkKeys(_ parts: JSONObject, _ path: String) throws(Problem) {
        let known = [
            "version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor",
            "decoder",
        ]
        for entry in parts.entries where !known.contains(entry.key) {
            throw TokenizerFields.unsupported(path, "field", entry.key.excerpt, "is not a part that version 1.0 has")
        }
        guard let version = parts["version"] else { return }
        guard version.string == "1.0" else {
            let text = version.string?.excerpt ?? "no text"
            throw TokenizerFields.unsupported(path, "version", "version", "is \(text), but 1.0 was needed")
        }
    }
}
