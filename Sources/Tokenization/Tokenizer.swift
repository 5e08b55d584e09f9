import Problems

/// What turns text into the ids of a vocabulary and back.
public protocol Tokenizer: Sendable {
    /// How many ids there are: all are less.
    var vocabularySize: Int { get }

    /// The ids of `text`, without a beginning or end unless the tokenizer itself adds them.
    ///
    /// - Parameter text: UTF-8, or any bytes where the vocabulary is bytes.
    func encode(_ text: [UInt8]) throws(Problem) -> [Int]

    /// The ids of `text`.
    ///
    /// - Parameter addsSpecial: whether what the tokenizer puts around a text, such as a beginning, is added.
    func encode(_ text: [UInt8], addsSpecial: Bool) throws(Problem) -> [Int]

    /// The bytes of `ids`, which need not be whole characters.
    ///
    /// - Parameter skipsSpecial: whether special tokens are left out.
    func decode(_ ids: [Int], skipsSpecial: Bool) throws(Problem) -> [UInt8]
}
