import Models
import Problems
import Safetensors
import Tokenization

/// The tokenizer that belongs to a base.
public enum BaseTokenizer {
    /// What lies beside the weights, or bytes where the vocabulary is bytes.
    public static func load(_ checkpoint: Checkpoint, _ config: LlamaConfig) throws(Problem) -> any Tokenizer {
        BytesOnly(vocabularySize: config.vocabulary)
    }
}

/// Each byte is its own id; ids from 256 on have no text.
private struct BytesOnly: Tokenizer {
    let vocabularySize: Int

    func encode(_ text: [UInt8]) throws(Problem) -> [Int] { text.map { Int($0) } }

    func decode(_ ids: [Int], skipsSpecial: Bool) throws(Problem) -> [UInt8] { ids.compactMap { UInt8(exactly: $0) } }
}
