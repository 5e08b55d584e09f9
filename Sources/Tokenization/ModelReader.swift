import Problems
import StrictJSON

/// Reads `model`: vocabulary and merges as they stream by, since there may be hundreds of thousands.
struct ModelReader {
    private let json: [UInt8]
    private let path: String
    private var fields = JSONObject()
    private var tokens = TokenTable()
    private var hasVocabulary = false
    /// Both sides of each merge, one after the other, and where each side ends.
    private var mergeText: [UInt8] = []
    private var mergeEnds: [Int] = []
    private var hasMerges = false

    init(json: [UInt8], path: String) {
        (self.json, self.path) = (json, path)
    }

    mutating func read(_ reader: inout JSONReader) throws(Problem) {
        try reader.expect("{")
        if reader.take("}") { return }
        repeat {
            let key = try reader.string()
            let isTwice = key == "vocab" ? hasVocabulary : key == "merges" ? hasMerges : fields[key] != nil
            guard !isTwice else { throw reader.problem("duplicate", "has the key '\(key.excerpt)' twice") }
            try reader.expect(":")
            switch key {
            case "vocab" where reader.peek() == UInt8(ascii: "{"): try readVocabulary(&reader)
            case "merges" where reader.peek() == UInt8(ascii: "["): try readMerges(&reader)
            default: fields[key] = try JSONValue(from: &reader)
            }
        } while reader.take(",")
        try reader.expect("}")
    }

    private mutating func readVocabulary(_ reader: inout JSONReader) throws(Problem) {
        hasVocabulary = true
        let json = json
        try reader.expect("{")
        if reader.take("}") { return }
        repeat {
            _ = reader.peek()
            let place = reader.position
            let inserted: Bool
            if let range = try reader.plainString() {
                try reader.expect(":")
                let id = try id(&reader)
                inserted = tokens.insert(json.span.extracting(range), id: id)
            } else {
                let token = Array(try reader.string().utf8)
                try reader.expect(":")
                let id = try id(&reader)
                inserted = tokens.insert(token.span, id: id)
            }
            guard inserted else { throw reader.problem("duplicate", "has a token twice in 'model.vocab'", at: place) }
        } while reader.take(",")
        try reader.expect("}")
    }

    private func id(_ reader: inout JSONReader) throws(Problem) -> Int {
        _ = reader.peek()
        let place = reader.position
        let id = try reader.unsigned()
        guard id < Int(UInt32.max) else {
            throw reader.problem("number", "has an id of \(id), but the largest is \(UInt32.max - 1)", at: place)
        }
        return id
    }

    // MARK: Merges

    private mutating func readMerges(_ reader: inout JSONReader) throws(Problem) {
        hasMerges = true
        try reader.expect("[")
        if reader.take("]") { return }
        repeat {
            _ = reader.peek()
            let place = reader.position
            if reader.take("[") {
                try append(&reader)
                try reader.expect(",")
                try append(&reader)
                try reader.expect("]")
            } else {
                try appendLine(&reader, place)
            }
        } while reader.take(",")
        try reader.expect("]")
    }

    private mutating func append(_ reader: inout JSONReader) throws(Problem) {
        if let range = try reader.plainString() {
            mergeText.append(contentsOf: json[range])
        } else {
            mergeText.append(contentsOf: try reader.string().utf8)
        }
        mergeEnds.append(mergeText.count)
    }

    /// A merge as one text: both sides with a space between.
    private mutating func appendLine(_ reader: inout JSONReader, _ place: Int) throws(Problem) {
        let start = mergeText.count
        try append(&reader)
        let line = mergeText[start...]
        // The first line of merges.txt, which old files carry along.
        if line.starts(with: "#version".utf8) {
            mergeText.removeLast(mergeText.count - start)
            mergeEnds.removeLast()
            return
        }
        let space = UInt8(ascii: " ")
        guard let middle = line.firstIndex(of: space), !line[(middle + 1)...].contains(space) else {
            throw Problem(
                .malformed, "bad-tokenizer", file: path,
                "'model.merges' has an entry that is not two tokens with a space between", offset: place)
        }
        mergeText.remove(at: middle)
        mergeEnds.removeLast()
        mergeEnds.append(middle)
        mergeEnds.append(mergeText.count)
    }

    // MARK: The whole

    /// The model, once everything was read.
    func finish() throws(Problem) -> BytePairModel {
        let fields = try TokenizerFields(.object(fields), path: path, name: "model")
        try checkFields(fields)
        var model = BytePairModel()
        model.tokens = tokens
        if let (id, isTooLarge) = model.tokens.indexIDs() {
            let message = isTooLarge ? "has an id of \(id) for \(tokens.count) tokens" : "has the id \(id) twice"
            throw fields.malformed("vocab", message)
        }
        for byte in UInt8.min...UInt8.max {
            var text: [UInt8] = []
            ByteAlphabet.append(byte, to: &text)
            if let id = model.tokens.id(text.span) { model.byteIDs[Int(byte)] = Int64(id) }
        }
        model.merges = try merges(fields)
        model.unknown = try fields.text("unk_token")
        if let unknown = model.unknown { model.unknownID = model.tokens.id(Array(unknown.utf8).span) }
        model.fusesUnknown = try fields.flag("fuse_unk", default: false)
        model.ignoresMerges = try fields.flag("ignore_merges", default: false)
        return model
    }

    private func checkFields(_ fields: TokenizerFields) throws(Problem) {
        func refuse(_ key: String, _ message: String) -> Problem {
            TokenizerFields.unsupported(path, "model", "model.\(key)", message)
        }
        // Files as old as GPT-2's have no type.
        if fields["type"] != nil {
            let type = try fields.type()
            guard type == "BPE" else { throw refuse("type", "is '\(type.excerpt)', but only BPE is supported") }
        }
        if let dropout = fields["dropout"] {
            guard let value = dropout.number?.double else { throw fields.malformed("dropout", "is no number") }
            guard value == 0 else { throw refuse("dropout", "is \(value), which makes ids random") }
        }
        for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
            if let text = try fields.text(key), !text.isEmpty {
                throw refuse(key, "is '\(text.excerpt)', which byte-level vocabularies do not have")
            }
        }
        if try fields.flag("byte_fallback", default: false) {
            throw refuse("byte_fallback", "is true, which byte-level vocabularies do not need")
        }
        guard hasVocabulary else { throw fields.malformed("vocab", "is no object of tokens and ids") }
        guard hasMerges else { throw fields.malformed("merges", "is no list") }
    }

    private func merges(_ fields: TokenizerFields) throws(Problem) -> MergeTable {
        let count = mergeEnds.count / 2
        var result = MergeTable(count: count)
        let text = mergeText.span
        var start = 0
        for rank in 0..<count {
            let (middle, end) = (mergeEnds[2 * rank], mergeEnds[2 * rank + 1])
            guard let left = tokens.id(text.extracting(start..<middle)),
                let right = tokens.id(text.extracting(middle..<end)),
                let product = tokens.id(text.extracting(start..<end))
            else { throw missing(rank, start, middle, end, fields) }
            result.set(
                UInt32(left), UInt32(right), MergeTable.Merge(rank: UInt32(rank), product: UInt32(product)))
            start = end
        }
        return result
    }

    private func missing(
        _ rank: Int, _ start: Int, _ middle: Int, _ end: Int, _ fields: TokenizerFields
    ) -> Problem {
        let ranges = [start..<middle, middle..<end, start..<end]
        let range = ranges.first { tokens.id(mergeText.span.extracting($0)) == nil } ?? start..<end
        let token = String(decoding: mergeText[range], as: UTF8.self).excerpt
        return fields.malformed("merges", "needs the token '\(token)' in entry \(rank), but 'model.vocab' has none")
    }
}
