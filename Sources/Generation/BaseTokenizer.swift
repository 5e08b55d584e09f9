import Models
import Problems
import Safetensors
import Tokenization

/// The tokenizer that belongs to a base.
public enum BaseTokenizer {
    /// Whether ids have texts: not so where the base came without a tokenizer.
    public static func hasTexts(_ tokenizer: any Tokenizer) -> Bool { !(tokenizer is NoTokenizer) }

    /// What lies beside the weights, or bytes where the vocabulary is bytes.
    ///
    /// A base without a tokenizer is no error until a text is to be read: ids need none, and have no text then.
    public static func load(_ checkpoint: Checkpoint, _ config: LlamaConfig) throws(Problem) -> any Tokenizer {
        do throws(Problem) {
            return try TokenizerLoader.load(
                checkpoint.directory, vocabularySize: config.vocabulary, path: checkpoint.path)
        } catch {
            guard error.code == "no-tokenizer" else { throw error }
            var reason = error
            reason.hint = "put the model's \(TokenizerLoader.fileName) beside it, or give token ids instead of text"
            return NoTokenizer(vocabularySize: config.vocabulary, reason: reason)
        }
    }
}

/// Ids without texts.
private struct NoTokenizer: Tokenizer {
    let vocabularySize: Int
    let reason: Problem

    func encode(_ text: [UInt8]) throws(Problem) -> [Int] { throw reason }

    func encode(_ text: [UInt8], addsSpecial: Bool) throws(Problem) -> [Int] { throw reason }

    func decode(_ ids: [Int], skipsSpecial: Bool) throws(Problem) -> [UInt8] { [] }
}
