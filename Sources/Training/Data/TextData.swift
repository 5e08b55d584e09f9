import Digests
import Files
import Models
import Problems
import Safetensors
import StrictJSON
import Tokenization

/// Text to train on, or to measure: read, turned into ids, and cut into sequences.
public struct TextData: Sendable {
    /// The path as the user named it.
    public let path: String
    /// What is trained on.
    public var sequences: [TokenSequence]
    /// SHA-256 of the file's bytes.
    public let digest: String
    /// Bytes of text, where the file is text.
    public let textBytes: Int?
    /// Examples that were longer and are cut, and those that are left out, since nothing of them counts.
    public private(set) var cutCount = 0
    /// See above.
    public private(set) var droppedCount = 0

    /// Ids, the last of which has no target.
    public var tokenCount: Int { sequences.reduce(0) { $0 + $1.ids.count } }
    /// Targets.
    public var targetCount: Int { sequences.reduce(0) { $0 + $1.targetCount } }

    init(path: String, sequences: [TokenSequence], digest: String, textBytes: Int?) {
        (self.path, self.sequences, self.digest, self.textBytes) = (path, sequences, digest, textBytes)
    }

    fileprivate init(path: String, _ examples: Examples, digest: String, textBytes: Int?) {
        self.init(path: path, sequences: examples.sequences, digest: digest, textBytes: textBytes)
        (cutCount, droppedCount) = (examples.cut, examples.dropped)
    }
}

/// Examples of a file as they are gathered.
struct Examples {
    var sequences: [TokenSequence] = []
    /// How many were cut.
    var cut = 0
    /// How many are left out.
    var dropped = 0
}

/// Reads data for a model.
public struct DataReader: Sendable {
    /// The base's sizes: ids must be within its vocabulary.
    public let config: LlamaConfig
    /// What turns text into ids; called only where there is text.
    public let tokenizer: @Sendable () throws(Problem) -> any Tokenizer
    /// The longest sequence.
    public let length: Int
    /// Whether an example that is longer is cut, rather than refused.
    public let truncates: Bool

    /// See the properties.
    public init(
        config: LlamaConfig, length: Int, truncates: Bool,
        tokenizer: @escaping @Sendable () throws(Problem) -> any Tokenizer
    ) {
        (self.config, self.tokenizer, self.length, self.truncates) = (config, tokenizer, length, truncates)
    }

    /// The largest file that is read into memory.
    static let largestFile = 1 << 31

    /// Reads the file at `path`: ids (`.safetensors`), JSON lines (`.jsonl` or `.json`), else plain text.
    public func read(_ path: String) throws -> TextData {
        let file = try InputFile(path: path)
        guard file.size > 0 else {
            throw Problem(.malformed, "no-text", file: path, "is empty: there is nothing to learn from")
        }
        guard file.size <= Self.largestFile else {
            throw Problem(
                .incompatible, "too-large", file: path, "has \(file.size) bytes; at most 2 GiB of data are read",
                hint: "split it, or train on a part of it")
        }
        var examples = Examples()
        var textBytes: Int?
        if path.hasSuffix(".safetensors") {
            try prepared(path, &examples)
        } else {
            let bytes = try file.read(at: 0, count: file.size)
            if ExampleLine.isFile(path) {
                try ExampleLines(self, path).gather(bytes, &examples)
            } else {
                textBytes = bytes.count
                examples.sequences = try plain(bytes, path)
            }
        }
        guard !examples.sequences.isEmpty else {
            throw Problem(
                .malformed, "no-text", file: path,
                examples.cut > 0
                    ? "has nothing to learn from: what counts lies behind the \(length) tokens to which examples are cut"
                    : "has no token that follows another: there is nothing to learn from",
                hint: examples.cut > 0 ? "give a larger --length" : nil)
        }
        return TextData(path: path, examples, digest: try SHA256.hex(of: file), textBytes: textBytes)
    }

    private func prepared(_ path: String, _ examples: inout Examples) throws {
        let file = try PreparedFile(path: path)
        if file.isStream {
            let stream = try Self.checked(
                file.sequences.flatMap(\.ids), config.vocabulary, path, "tensor '\(file.tensor)'")
            examples.sequences = TokenSequence.blocks(stream, length: length)
            return
        }
        for (at, example) in file.sequences.enumerated() { try add(example, to: &examples, path, "example \(at)") }
    }

    /// Adds the sequence in which each id has the next label for a target; the last id, which has none, is left out.
    func add(_ example: LabelledIDs, to examples: inout Examples, _ path: String, _ place: String) throws {
        let ids = try Self.checked(example.ids, config.vocabulary, path, place)
        var labels = ids
        if let own = example.labels {
            _ = try Self.checked(own.map { $0 == LabelledIDs.ignored ? 0 : $0 }, config.vocabulary, path, place)
            labels = own.map { $0 == LabelledIDs.ignored ? TokenSequence.ignored : Int32($0) }
        }
        guard ids.count - 1 <= length || truncates else {
            throw Problem(
                .malformed, "bad-example", file: path,
                "\(place) has \(ids.count - 1) tokens, but --length is \(length)",
                hint: "give a larger --length, or --truncate to cut what is longer")
        }
        let count = max(0, min(ids.count - 1, length))
        if count < ids.count - 1 { examples.cut += 1 }
        let sequence = TokenSequence(ids: Array(ids[..<count]), targets: Array(labels.dropFirst().prefix(count)))
        if sequence.targetCount > 0 {
            examples.sequences.append(sequence)
        } else {
            examples.dropped += 1
        }
    }

    private func plain(_ bytes: [UInt8], _ path: String) throws -> [TokenSequence] {
        if let at = bytes.firstIndex(of: 0) {
            throw Problem(
                .malformed, "binary-data", file: path, "is not text: it has a byte of zero",
                hint: "name a text file, JSON lines (.jsonl) or token ids (.safetensors)", offset: at)
        }
        return TokenSequence.blocks(try ids(bytes, path), length: length)
    }

    /// The ids of a text, each within the vocabulary.
    private func ids(_ text: [UInt8], _ path: String) throws -> [Int32] {
        let found: [Int]
        do throws(Problem) {
            found = try tokenizer().encode(text, addsSpecial: true)
        } catch {
            throw error.at(file: path)
        }
        return try Self.checked(found, config.vocabulary, path, nil)
    }

    /// Ids as they are kept; refuses those outside of the vocabulary.
    static func checked(_ ids: [Int], _ vocabulary: Int, _ path: String, _ place: String?) throws(Problem) -> [Int32] {
        if let bad = ids.first(where: { !(0..<vocabulary).contains($0) }) {
            throw Problem(
                .incompatible, "no-token", file: path,
                "\(place.map { "\($0) " } ?? "")has the token id \(bad), but the base's vocabulary ends at \(vocabulary - 1)",
                hint: "was it made with another model's tokenizer?")
        }
        return ids.map { Int32($0) }
    }
}
