import Files
import Problems
import StrictJSON
import Tokenization

/// Sequences of ids from a file: text, safetensors, or JSON lines.
public struct TokenFile: Sendable {
    /// The sequences.
    public let sequences: [LabelledIDs]

    private static let limit = 1 << 31

    /// Reads `path`, as training does; what does not end in `.safetensors` or `.jsonl` is one text, and so is standard input (`-`).
    ///
    /// - Parameter end: the token that ends an example of JSON lines, where there is one.
    public init(path: String, _ tokenizer: any Tokenizer, end: Int? = nil) throws(Problem) {
        let file = StandardStreams.inputName(path)
        do throws(Problem) {
            if path.hasSuffix(".safetensors") {
                sequences = try PreparedFile(path: path).sequences
            } else {
                let bytes = try StandardStreams.readInput(path, limit: Self.limit)
                sequences =
                    ExampleLine.isFile(path)
                    ? try Self.lines(bytes, tokenizer, end) : [LabelledIDs(try tokenizer.encode(bytes))]
            }
        } catch {
            throw error.at(file: file)
        }
        guard sequences.contains(where: { $0.targetCount > 0 }) else {
            throw Problem(
                .malformed, "no-tokens", file: file,
                "has no token that follows another and counts, so there is nothing to predict")
        }
    }

    private static func lines(
        _ bytes: [UInt8], _ tokenizer: any Tokenizer, _ end: Int?
    ) throws(Problem) -> [LabelledIDs] {
        var result: [LabelledIDs] = []
        for line in JSONLines.split(bytes) {
            let value = try JSONLines.value(line)
            do throws(Problem) {
                let example = try ExampleLine(value)
                result.append(try example.encoded({ () throws(Problem) in tokenizer }, end: end))
            } catch {
                var copy = error
                copy.message = "line \(line.number) \(error.message)"
                throw copy
            }
        }
        return result
    }
}
