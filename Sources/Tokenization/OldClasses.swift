/// `[:punct:]` has nine symbols more in the library's Oniguruma than in the system's.
enum OldClasses {
    private static let more = #"$+<=>\^`|~"#

    /// The pattern with the symbols added wherever the class is named.
    static func rewrite(_ pattern: String) -> String {
        var result = pattern
        for (name, replacement) in [
            ("[:punct:]", "[:punct:]\(more)"), ("[:^punct:]", "[^[:punct:]\(more)]"),
            (#"\p{Punct}"#, "[[:punct:]\(more)]"), (#"\p{^Punct}"#, "[^[:punct:]\(more)]"),
            (#"\P{Punct}"#, "[^[:punct:]\(more)]"),
        ] {
            result = result.split(separator: name, omittingEmptySubsequences: false).joined(separator: replacement)
        }
        return result
    }
}
