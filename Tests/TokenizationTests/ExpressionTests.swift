import Testing

@testable import Tokenization

/// Expressions walk over a text as a search would.
struct ExpressionTests {
    private func matches(_ pattern: String, _ text: String) throws -> [Range<Int>] {
        let bytes = Array(text.utf8)
        var found: [Range<Int>] = []
        let expression = try Expression(pattern, path: "tokenizer.json", field: "pattern")
        try expression.matches(in: bytes, 0..<bytes.count, Expression.Search(size: bytes.count)) {
            found.append($0..<$1)
        }
        return found
    }

    /// A word is one match, however long it is.
    @Test(arguments: [10, 4000, 4096, 4097, 20_000, 100_000])
    func longWords(count: Int) throws {
        let text = String(repeating: "字", count: count)
        #expect(try matches(#"\p{L}+"#, "1 " + text + " 2") == [2..<2 + 3 * count])
        #expect(
            try matches(#"\s+(?!\S)|\s+"#, String(repeating: " ", count: count) + "x") == [
                0..<count - 1, count - 1..<count,
            ])
    }

    @Test func whatIsBetweenMatchesIsPassedOver() throws {
        let text = String(repeating: "ab", count: 5000) + "x" + String(repeating: "c", count: 5000) + "x"
        #expect(try matches("x", text) == [10_000..<10_001, 15_001..<15_002])
        #expect(try matches("y", text).isEmpty)
        #expect(try matches("", "é") == [0..<0, 2..<2])
    }
}
