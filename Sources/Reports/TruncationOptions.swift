import Composition
import Console
import Problems

extension Option {
    /// How much is kept, as all tools that truncate ask for it.
    public static let truncation = [
        Option("rank", short: "r", value: "R", help: "Keep at most R singular values.", group: "What is kept"),
        Option(
            "energy", value: "E",
            help: "Keep so many singular values that their squares make up at least E, such as 0.99, of all.",
            group: "What is kept"),
        Option(
            "ratio", value: "X", help: "Keep singular values that are at least the largest one divided by X.",
            group: "What is kept"),
        Option(
            "per-module",
            help:
                "Give each module its own rank, as rank_pattern. Without it all have the largest one, filled up with zeros, "
                + "which every loader reads.", group: "What is kept"),
    ]
}

extension Arguments {
    /// What these options say.
    public func truncation() throws(Problem) -> Truncation {
        Truncation(
            rank: try int("rank", in: 1...1_000_000), energy: try fraction("energy"),
            ratio: try number("ratio", in: 1...1e300))
    }
}
