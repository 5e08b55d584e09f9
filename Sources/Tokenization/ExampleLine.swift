import Problems
import StrictJSON

/// A line of a file of examples, to learn from or to measure.
///
/// - `{"prompt": "...", "completion": "..."}`: the completion counts, with the end token.
/// - `{"text": "..."}`: all of it counts, with the end token.
/// - `{"input_ids": [...]}`, with or without `"labels": [...]` of the same length, −100 where a label does not count. The ids may
///   be called `ids` or `tokens`, too.
/// - `[...]`: ids.
public enum ExampleLine: Sendable, Equatable {
    /// Ids that were prepared elsewhere.
    case ids(LabelledIDs)
    /// A text.
    case text(String)
    /// A text of which only the end counts.
    case completion(prompt: String, completion: String)

    /// Whether a file of this name has examples line by line.
    public static func isFile(_ path: String) -> Bool { path.hasSuffix(".jsonl") || path.hasSuffix(".json") }

    private static let hint =
        #"write {"prompt": "...", "completion": "..."}, {"text": "..."}, {"input_ids": [...]} or an array of ids"#

    /// Reads a line; messages go on from the number of the line: `has an empty completion`.
    public init(_ value: JSONValue) throws(Problem) {
        if value.array != nil {
            self = .ids(LabelledIDs(try Self.numbers(value, "array")))
            return
        }
        guard let object = value.object else {
            throw Self.bad("is no JSON object, and no array of ids", hint: Self.hint)
        }
        if let name = try PreparedNames.only({ object[$0] != nil }) {
            self = .ids(try Self.prepared(object, name))
        } else if let text = object["text"]?.string {
            self = .text(text)
        } else if let prompt = object["prompt"]?.string, let completion = object["completion"]?.string {
            guard !completion.isEmpty else { throw Self.bad("has an empty completion: no token of it counts") }
            self = .completion(prompt: prompt, completion: completion)
        } else {
            throw Self.bad("has neither 'text', nor 'prompt' and 'completion', nor 'input_ids'", hint: Self.hint)
        }
    }

    /// The line as ids; `end` is the token that ends an example, where there is one.
    public func encoded(
        _ tokenizer: () throws(Problem) -> any Tokenizer, end: Int?
    ) throws(Problem) -> LabelledIDs {
        let end = end.map { [$0] } ?? []
        switch self {
        case .ids(let ids): return ids
        case .text(let text): return LabelledIDs(try tokenizer().encode(Array(text.utf8), addsSpecial: true) + end)
        case .completion(let prompt, let completion):
            let first = try tokenizer().encode(Array(prompt.utf8), addsSpecial: true)
            let second = try tokenizer().encode(Array(completion.utf8), addsSpecial: false) + end
            let labels = Array(repeating: LabelledIDs.ignored, count: first.count) + second
            return LabelledIDs(first + second, labels: labels)
        }
    }

    private static func prepared(_ object: JSONObject, _ name: String) throws(Problem) -> LabelledIDs {
        let ids = try numbers(object[name], "'\(name)'")
        guard let value = object["labels"], value != .null else { return LabelledIDs(ids) }
        let labels = try numbers(value, "'labels'")
        guard labels.count == ids.count else { throw bad("has \(ids.count) ids, but \(labels.count) labels") }
        return LabelledIDs(ids, labels: labels)
    }

    private static func numbers(_ value: JSONValue?, _ what: String) throws(Problem) -> [Int] {
        guard let items = value?.array else { throw bad("has \(what) that is no list of numbers", hint: hint) }
        let numbers = items.compactMap { $0.number?.int }
        guard numbers.count == items.count else {
            throw bad("has \(what) that is no list of whole numbers", hint: hint)
        }
        return numbers
    }

    private static func bad(_ message: String, hint: String? = nil) -> Problem {
        Problem(.malformed, "bad-example", message, hint: hint)
    }
}
