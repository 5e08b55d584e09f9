import Files
import Problems
import Safetensors
import StrictJSON
import Tensors
import Tokenization

/// Sequences of ids from a file: text, safetensors, or JSON lines.
public struct TokenFile: Sendable {
    /// The sequences.
    public let sequences: [[Int]]

    private static let names = ["ids", "input_ids", "tokens"]
    private static let limit = 1 << 31

    /// Reads `path`; what does not end in `.safetensors` or `.jsonl` is one text.
    ///
    /// - A `.safetensors` file has a tensor `ids`, `input_ids` or `tokens` of whole numbers, with one or two dimensions: each row is
    ///   a sequence.
    /// - A line of a `.jsonl` file is an array of ids, an object with one under these names, or an object with a `text`.
    public init(path: String, _ tokenizer: any Tokenizer) throws(Problem) {
        do throws(Problem) {
            if path.hasSuffix(".safetensors") {
                sequences = try Self.tensors(path)
            } else {
                let bytes = try InputFile(path: path).readAll(limit: Self.limit)
                sequences = path.hasSuffix(".jsonl") ? try Self.lines(bytes, tokenizer) : [try tokenizer.encode(bytes)]
            }
        } catch {
            throw error.at(file: path)
        }
        guard sequences.contains(where: { $0.count > 1 }) else {
            throw Problem(
                .malformed, "no-tokens", file: path,
                "has no sequence of two tokens or more, so there is nothing to predict")
        }
    }

    private static func tensors(_ path: String) throws(Problem) -> [[Int]] {
        let file = try SafetensorsFile(path: path)
        guard let tensor = names.lazy.compactMap({ file.header[$0] }).first else {
            throw Problem(
                .malformed, "no-tokens", "has no tensor of ids", hint: "call it \(names.joined(separator: " or "))")
        }
        let fits = (1...2).contains(tensor.shape.count) && !tensor.shape.contains(0)
        // What is negative or far too large is outside of every vocabulary, and is refused there.
        guard fits, let ids = TensorValues.integers(try file.read(tensor), tensor.dtype) else {
            throw Problem(
                .malformed, "bad-tokens", tensor: tensor.name,
                "is \(tensor.dtype.rawValue) \(tensor.shape), but whole numbers of one or two dimensions were needed")
        }
        let width = tensor.shape.last ?? 1
        return stride(from: 0, to: ids.count, by: width).map { Array(ids[$0..<$0 + width]) }
    }

    private static func lines(_ bytes: [UInt8], _ tokenizer: any Tokenizer) throws(Problem) -> [[Int]] {
        var result: [[Int]] = []
        for line in JSONLines.split(bytes) {
            let value = try JSONLines.value(line)
            if let text = value.object?["text"]?.string {
                result.append(try tokenizer.encode(Array(text.utf8)))
                continue
            }
            let object = value.object
            let items = value.array ?? names.lazy.compactMap { object?[$0]?.array }.first
            let ids = items?.compactMap { $0.number?.int }
            guard let ids, ids.count == items?.count else {
                throw Problem(
                    .malformed, "bad-tokens",
                    "line \(line.number) is neither an array of ids, nor an object with 'ids' or 'text'")
            }
            result.append(ids)
        }
        return result
    }
}
