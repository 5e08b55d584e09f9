import Problems
import StrictJSON

/// Reads `normalizer`.
enum NormalizerReader {
    static func read(_ value: JSONValue, path: String, name: String) throws(Problem) -> [Normalization.Form] {
        let fields = try TokenizerFields(value, path: path, name: name)
        let type = try fields.type()
        switch type {
        case "NFC": return [.composed]
        case "NFD": return [.decomposed]
        case "Sequence":
            var result: [Normalization.Form] = []
            for (place, part) in try fields.list("normalizers").enumerated() {
                result += try read(part, path: path, name: "\(name)[\(place)]")
            }
            return result
        default:
            throw TokenizerFields.unsupported(
                path, "normalizer", name, "is '\(type.excerpt)', but only NFC, NFD and Sequence are supported")
        }
    }
}

/// Reads `pre_tokenizer`.
struct PreTokenizerReader {
    let path: String
    private var stages: [PreTokenizer.Stage] = []
    private var lateStages: [PreTokenizer.Stage] = []
    private var hasByteLevel = false

    init(path: String) { self.path = path }

    mutating func read(_ value: JSONValue, name: String) throws(Problem) {
        let fields = try TokenizerFields(value, path: path, name: name)
        let type = try fields.type()
        switch type {
        case "Sequence":
            for (place, part) in try fields.list("pretokenizers").enumerated() {
                try read(part, name: "\(name)[\(place)]")
            }
        case "Split": add(try split(fields))
        case "Digits":
            add(.digits(try fields.flag("individual_digits", default: false) ? .isolated : .contiguous))
        case "ByteLevel":
            guard !hasByteLevel else {
                throw TokenizerFields.unsupported(path, "pre-tokenizer", name, "is a second ByteLevel")
            }
            let usesExpression = try fields.flag("use_regex", default: true)
            let pattern = usesExpression ? PreTokenizer.byteLevelPattern : nil
            let expression = try pattern.map { (text) throws(Problem) in
                try Expression(text, path: path, field: name)
            }
            // Offsets are all that trim_offsets is about, and there are none here.
            add(.byteLevel(addsSpace: try fields.flag("add_prefix_space"), expression))
            hasByteLevel = true
        default:
            throw TokenizerFields.unsupported(
                path, "pre-tokenizer", name,
                "is '\(type.excerpt)', but only ByteLevel, Split, Digits and Sequence are supported")
        }
    }

    private mutating func add(_ stage: PreTokenizer.Stage) {
        if hasByteLevel { lateStages.append(stage) } else { stages.append(stage) }
    }

    func finish() throws(Problem) -> PreTokenizer {
        guard hasByteLevel else {
            throw TokenizerFields.unsupported(
                path, "pre-tokenizer", "pre_tokenizer",
                "has no ByteLevel, but only byte-level vocabularies are supported")
        }
        return PreTokenizer(stages: stages, lateStages: lateStages)
    }

    private func split(_ fields: TokenizerFields) throws(Problem) -> PreTokenizer.Stage {
        guard let word = try fields.text("behavior") else { throw fields.malformed("behavior", "is missing") }
        guard let behaviour = PreTokenizer.Behaviour(rawValue: word) else {
            throw fields.malformed("behavior", "is '\(word.excerpt)', which is none")
        }
        let isInverted = try fields.flag("invert")
        guard case .object(let pattern)? = fields["pattern"], pattern.entries.count == 1,
            let entry = pattern.entries.first, ["String", "Regex"].contains(entry.key), let text = entry.value.string
        else { throw fields.malformed("pattern", "is neither a 'String' nor a 'Regex'") }
        let source = entry.key == "Regex" ? OldClasses.rewrite(text) : Self.escaped(text)
        let expression = try Expression(source, path: path, field: "\(fields.name).pattern")
        // A pattern that names newer characters means these, not what stands in for them.
        let usesStandIns = entry.key == "Regex" && StandIns.replace(in: Array(text.utf8)) == nil
        return .split(expression, behaviour, isInverted: isInverted, usesStandIns: usesStandIns)
    }

    private static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            if #"\.+*?()|[]{}^$#&-~"#.unicodeScalars.contains(scalar) { result.unicodeScalars.append("\\") }
            result.unicodeScalars.append(scalar)
        }
        return result
    }
}

/// Reads `post_processor`.
enum PostProcessorReader {
    /// Ids before the text and behind it.
    static func read(
        _ value: JSONValue, path: String, name: String
    ) throws(Problem) -> (before: [Int], behind: [Int]) {
        let fields = try TokenizerFields(value, path: path, name: name)
        let type = try fields.type()
        switch type {
        case "ByteLevel": return ([], [])
        case "Sequence":
            var result: (before: [Int], behind: [Int]) = ([], [])
            for (place, part) in try fields.list("processors").enumerated() {
                let (before, behind) = try read(part, path: path, name: "\(name)[\(place)]")
                result = (before + result.before, result.behind + behind)
            }
            return result
        case "TemplateProcessing": return try template(fields)
        default:
            throw TokenizerFields.unsupported(
                path, "post-processor", name,
                "is '\(type.excerpt)', but only ByteLevel, TemplateProcessing and Sequence are supported")
        }
    }

    private static func template(_ fields: TokenizerFields) throws(Problem) -> (before: [Int], behind: [Int]) {
        var before: [Int] = []
        var behind: [Int] = []
        var texts = 0
        for piece in try fields.list("single") {
            if let token = piece.object?["SpecialToken"]?.object?["id"]?.string {
                let ids = try ids(of: token, fields)
                if texts == 0 { before += ids } else { behind += ids }
            } else if piece.object?["Sequence"]?.object?["id"]?.string == "A" {
                texts += 1
            } else {
                throw fields.malformed("single", "has a piece that is neither a special token nor the sequence A")
            }
        }
        guard texts == 1 else {
            throw TokenizerFields.unsupported(
                fields.path, "post-processor", "\(fields.name).single",
                "has the text \(texts) times, but only once is supported")
        }
        return (before, behind)
    }

    private static func ids(of token: String, _ fields: TokenizerFields) throws(Problem) -> [Int] {
        guard case .array(let values)? = fields["special_tokens"]?.object?[token]?.object?["ids"] else {
            throw fields.malformed("special_tokens", "has no ids of '\(token.excerpt)', which 'single' needs")
        }
        var result: [Int] = []
        for value in values { result.append(try TokenizerFields.id(value, fields, "special_tokens")) }
        return result
    }
}

/// Reads `decoder`.
enum DecoderReader {
    static func read(_ value: JSONValue, path: String) throws(Problem) -> TokenizerFile.Decoder {
        var isByteLevel = false
        try read(value, path: path, name: "decoder", &isByteLevel)
        guard isByteLevel else {
            throw TokenizerFields.unsupported(path, "decoder", "decoder", "has no ByteLevel")
        }
        return .bytes
    }

    private static func read(
        _ value: JSONValue, path: String, name: String, _ isByteLevel: inout Bool
    ) throws(Problem) {
        let fields = try TokenizerFields(value, path: path, name: name)
        let type = try fields.type()
        switch type {
        case "ByteLevel" where !isByteLevel: isByteLevel = true
        // It joins what ByteLevel has joined already.
        case "Fuse" where isByteLevel: break
        case "Sequence":
            for (place, part) in try fields.list("decoders").enumerated() {
                try read(part, path: path, name: "\(name)[\(place)]", &isByteLevel)
            }
        default:
            throw TokenizerFields.unsupported(
                path, "decoder", name, "is '\(type.excerpt)', but only one ByteLevel is supported")
        }
    }
}

/// Reads `added_tokens`.
enum AddedTokensReader {
    /// The matcher's walk from each place is as long as a token may be.
    private static let longest = 1024

    static func read(_ value: JSONValue, path: String, model: BytePairModel) throws(Problem) -> [AddedToken] {
        guard case .array(let items) = value else {
            throw Problem(.malformed, "bad-tokenizer", file: path, "'added_tokens' is no list")
        }
        var result: [AddedToken] = []
        var contents: Set<[UInt8]> = []
        // The library numbers tokens that the vocabulary does not have itself, whatever the file says.
        var next = model.tokens.count
        for (place, item) in items.enumerated() {
            let fields = try TokenizerFields(item, path: path, name: "added_tokens[\(place)]")
            guard let content = try fields.text("content") else { throw fields.malformed("content", "is missing") }
            let token = AddedToken(
                id: try fields.id("id"), content: content, isSingleWord: try fields.flag("single_word"),
                stripsLeft: try fields.flag("lstrip"), stripsRight: try fields.flag("rstrip"),
                isNormalized: try fields.flag("normalized"), isSpecial: try fields.flag("special"))
            guard !content.isEmpty else { continue }
            let bytes = Array(content.utf8)
            guard bytes.count <= longest else {
                throw TokenizerFields.unsupported(
                    path, "added-tokens", "added_tokens[\(place)]",
                    "has \(bytes.count) bytes, but at most \(longest) are supported")
            }
            guard contents.insert(bytes).inserted else {
                throw fields.malformed("content", "is '\(content.excerpt)', as that of another token")
            }
            let known = model.tokens.id(bytes.span)
            guard token.id == known ?? next else {
                throw fields.malformed(
                    "id",
                    "is \(token.id) for '\(content.excerpt)', but the tokenizers library gives it \(known ?? next)")
            }
            if known == nil {
                guard model.tokens.token(next) == nil else {
                    throw fields.malformed("id", "is \(token.id), which 'model.vocab' gives to another token")
                }
                next += 1
            }
            result.append(token)
        }
        return result
    }
}
