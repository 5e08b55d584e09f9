import Problems

/// JSON documents, one a line.
public enum JSONLines {
    /// The lines that are not blank, with their numbers from 1.
    public static func split(_ bytes: [UInt8]) -> [(number: Int, bytes: ArraySlice<UInt8>)] {
        bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated()
            .filter { $0.element.contains { $0 > 0x20 } }.map { ($0.offset + 1, $0.element) }
    }

    /// The document of a line; errors say which line, and where in the whole.
    public static func value(_ line: (number: Int, bytes: ArraySlice<UInt8>)) throws(Problem) -> JSONValue {
        do throws(Problem) {
            return try JSONValue.parse(Array(line.bytes))
        } catch {
            var copy = error
            copy.message = "line \(line.number) \(error.message)"
            copy.offset = error.offset.map { $0 + line.bytes.startIndex }
            throw copy
        }
    }
}
