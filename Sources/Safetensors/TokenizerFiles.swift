/// The files of a model that say how text becomes ids.
package enum TokenizerFiles {
    /// Whether a file is one of them, by its name.
    package static func contains(_ name: String) -> Bool {
        name.hasPrefix("tokenizer") || name.hasPrefix("chat_template")
            || ["special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt"].contains(name)
    }
}
