import Problems
import StrictJSON
import Tokenization

/// JSON lines, one example each; see `ExampleLine`.
struct ExampleLines {
    private let reader: DataReader
    private let path: String

    init(_ reader: DataReader, _ path: String) { (self.reader, self.path) = (reader, path) }

    func gather(_ bytes: [UInt8], _ examples: inout Examples) throws {
        for line in JSONLines.split(bytes) {
            let example: LabelledIDs
            do throws(Problem) {
                example = try self.example(line).encoded(reader.tokenizer, end: reader.config.endOfExample)
            } catch {
                throw error.at(file: path)
            }
            try reader.add(example, to: &examples, path, "line \(line.number)")
        }
    }

    private func example(_ line: (number: Int, bytes: ArraySlice<UInt8>)) throws(Problem) -> ExampleLine {
        let value: JSONValue
        do throws(Problem) {
            value = try JSONLines.value(line)
        } catch {
            throw Problem(.malformed, "bad-example", file: path, error.message, offset: error.offset)
        }
        do throws(Problem) {
            return try ExampleLine(value)
        } catch {
            var copy = error.at(file: path)
            copy.message = "line \(line.number) \(error.message)"
            throw copy
        }
    }
}
