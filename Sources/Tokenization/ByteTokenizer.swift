import Problems

/// A vocabulary of bytes: ids 0 to 255 are bytes, those from 256 on are special and stand for nothing.
public struct ByteTokenizer: Tokenizer {
    /// How many ids there are.
    public let vocabularySize: Int

    /// Makes one of at least 256 ids.
    public init(vocabularySize: Int = 256) { self.vocabularySize = max(256, vocabularySize) }

    /// The bytes as ids.
    public func encode(_ text: [UInt8]) -> [Int] { text.map(Int.init) }

    /// The ids below 256 as bytes, and nothing for the special ones, whether they are to be left out or not.
    ///
    /// - Throws: `incompatible` if an id is not of this vocabulary.
    public func decode(_ ids: [Int], skipsSpecial: Bool) throws(Problem) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(ids.count)
        for id in ids {
            guard id >= 0, id < vocabularySize else {
                throw Problem(
                    .incompatible, "token-id",
                    "has the id \(id), but the vocabulary has the ids 0 to \(vocabularySize - 1)")
            }
            if let byte = UInt8(exactly: id) { result.append(byte) }
        }
        return result
    }
}
