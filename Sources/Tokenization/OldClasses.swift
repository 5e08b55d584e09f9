/// `[:punct:]` is punctuation and symbols to the library's Oniguruma, but punctuation alone to the system's.
enum OldClasses {
    /// The pattern with the symbols added wherever the class is named.
    static func rewrite(_ pattern: String) -> String {
        var result = pattern
        // Both stand inside of brackets only, where classes may nest.
        for (name, replacement) in [("[:punct:]", #"\p{P}\p{S}"#), ("[:^punct:]", #"[^\p{P}\p{S}]"#)] {
            result = result.split(separator: name, omittingEmptySubsequences: false).joined(separator: replacement)
        }
        return result
    }
}
