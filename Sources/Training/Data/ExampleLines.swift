import Problems
import StrictJSON

/// JSON lines: an object on each line, one example each.
///
/// - `{"prompt": "...", "completion": "..."}`: the loss is taken on the completion and the end token.
/// - `{"text": "..."}`: the loss is taken on all of it.
/// - `{"input_ids": [...]}` with or without `"labels": [...]` of the same length, −100 where a label does not count, as
///   transformers has it: a label stands at its own token, not at the one before.
struct ExampleLines {
    private let reader: DataReader
    private let path: String

    init(_ reader: DataReader, _ path: String) { (self.reader, self.path) = (reader, path) }

    func sequences(_ bytes: [UInt8]) throws -> [TokenSequence] {
        var result: [TokenSequence] = []
        for line in JSONLines.split(bytes) {
            if let sequence = try sequence(try value(line), line.number) { result.append(sequence) }
        }
        return result
    }

    private func bad(_ line: Int, _ what: String, hint: String? = nil) -> Problem {
        Problem(.malformed, "bad-example", file: path, "line \(line) \(what)", hint: hint)
    }

    private func value(_ line: (number: Int, bytes: ArraySlice<UInt8>)) throws(Problem) -> JSONValue {
        do throws(Problem) {
            return try JSONLines.value(line)
        } catch {
            throw Problem(.malformed, "bad-example", file: path, error.message, offset: error.offset)
        }
    }

    private func sequence(_ value: JSONValue, _ line: Int) throws -> TokenSequence? {
        guard let object = value.object else { throw bad(line, "is no JSON object") }
        if object["input_ids"] != nil || object["ids"] != nil { return try prepared(object, line) }
        if let text = object["text"]?.string {
            let ids = try reader.ids(Array(text.utf8), path, line: line) + end
            return try cut(ids, counting: Array(repeating: true, count: ids.count), line)
        }
        guard let prompt = object["prompt"]?.string, let completion = object["completion"]?.string else {
            throw bad(
                line, "has neither 'text', nor 'prompt' and 'completion', nor 'input_ids'",
                hint: #"write {"prompt": "...", "completion": "..."}"#)
        }
        guard !completion.isEmpty else { throw bad(line, "has an empty completion: there is nothing to learn") }
        let first = try reader.ids(Array(prompt.utf8), path, line: line)
        let second = try reader.ids(Array(completion.utf8), path, line: line, addsSpecial: false) + end
        let counts = Array(repeating: false, count: first.count) + Array(repeating: true, count: second.count)
        return try cut(first + second, counting: counts, line)
    }

    /// The token that ends an example, where the base has one.
    private var end: [Int32] {
        reader.config.endIDs.first.flatMap { $0 < reader.config.vocabulary ? [Int32($0)] : nil } ?? []
    }

    private func numbers(_ value: JSONValue?, _ line: Int, _ key: String) throws -> [Int] {
        guard let items = value?.array else { throw bad(line, "has a '\(key)' that is no list of numbers") }
        return try items.map { item in
            guard let number = item.number?.int else {
                throw bad(line, "has a '\(key)' that is no list of whole numbers")
            }
            return number
        }
    }

    private func prepared(_ object: JSONObject, _ line: Int) throws -> TokenSequence? {
        let key = object["input_ids"] == nil ? "ids" : "input_ids"
        let numbers = try numbers(object[key], line, key)
        let ids = try DataReader.checked(numbers, reader.config.vocabulary, path, "line \(line)")
        guard object["labels"] != nil, object["labels"] != .null else {
            return try cut(ids, counting: Array(repeating: true, count: ids.count), line)
        }
        let labels = try self.numbers(object["labels"], line, "labels")
        guard labels.count == ids.count else {
            throw bad(line, "has \(ids.count) ids, but \(labels.count) labels")
        }
        let counted = labels.map { $0 == -100 ? 0 : $0 }
        _ = try DataReader.checked(counted, reader.config.vocabulary, path, "line \(line)")
        return try sequence(ids, labels: labels.map { $0 == -100 ? TokenSequence.ignored : Int32($0) }, line)
    }

    /// A sequence whose targets are its own ids, where they count.
    private func cut(_ ids: [Int32], counting: [Bool], _ line: Int) throws -> TokenSequence? {
        try sequence(ids, labels: zip(ids, counting).map { $1 ? $0 : TokenSequence.ignored }, line)
    }

    private func sequence(_ ids: [Int32], labels: [Int32], _ line: Int) throws -> TokenSequence? {
        try Self.shifted(ids, labels: labels, length: reader.length, truncates: reader.truncates) { count in
            bad(
                line, "has \(count) tokens, but --length is \(reader.length)",
                hint: "give a larger --length, or --truncate to cut what is longer")
        }
    }

    /// The sequence in which each id has the next label for a target; the last id, which has none, is left out.
    static func shifted(
        _ ids: [Int32], labels: [Int32], length: Int, truncates: Bool, tooLong: (Int) -> Problem
    ) throws -> TokenSequence? {
        guard ids.count - 1 <= length || truncates else { throw tooLong(ids.count - 1) }
        let count = min(ids.count - 1, length)
        guard count > 0 else { return nil }
        let sequence = TokenSequence(ids: Array(ids[..<count]), targets: Array(labels[1...count]))
        return sequence.targetCount > 0 ? sequence : nil
    }
}
