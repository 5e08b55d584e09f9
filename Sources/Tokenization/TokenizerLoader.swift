import Files
import Problems

/// Finds the tokenizer that goes with a model.
public enum TokenizerLoader {
    /// What the library's users call the file.
    public static let fileName = "tokenizer.json"
    /// Larger ones make no sense: a vocabulary of 256,000 tokens takes 30 MB.
    public static let sizeLimit = 1 << 28

    /// The tokenizer in `folder`, or bytes for a vocabulary that can be nothing else.
    ///
    /// Ids that a file's vocabulary has beyond the model's are no problem until they are produced: who asks for ids
    /// must compare them with the model's size.
    ///
    /// - Parameters:
    ///   - folder: the model's folder, if it is one.
    ///   - vocabularySize: the number of rows of the model's embedding.
    ///   - path: the model as the user named it.
    /// - Throws: `missing` if there is no file and the vocabulary is not of bytes; what is wrong with the file.
    public static func load(
        _ folder: (any Folder)?, vocabularySize: Int, path: String
    ) throws(Problem) -> any Tokenizer {
        if let folder, try folder.entries().contains(where: { $0.name == fileName }) {
            let source = try folder.source(fileName)
            return try BytePairTokenizer(json: try source.readAll(limit: sizeLimit), path: source.path)
        }
        guard (256...512).contains(vocabularySize) else {
            throw Problem(
                .missing, "no-tokenizer", file: path,
                "has no \(fileName), and a vocabulary of \(vocabularySize) ids is not one of bytes (256 to 512)",
                hint:
                    "put the model's \(fileName) beside it, or make token ids elsewhere and give --data ids.safetensors "
                    + "or a .jsonl file with them")
        }
        return ByteTokenizer(vocabularySize: vocabularySize)
    }
}
