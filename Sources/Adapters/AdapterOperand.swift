import Files
import Problems

/// An adapter as the command line names it: `PATH` or `PATH:WEIGHT`.
public struct AdapterOperand: Sendable, Equatable {
    /// The adapter's path.
    public let path: String
    /// What its delta is multiplied by.
    public let weight: Double

    /// A path and a weight.
    public init(path: String, weight: Double = 1) {
        self.path = path
        self.weight = weight
    }

    /// Reads `text`; a path that exists as written wins over a weight.
    public init(_ text: String) throws(Problem) {
        guard Directory.kind(of: text) == nil, let colon = text.lastIndex(of: ":") else {
            self.init(path: text)
            return
        }
        let tail = text[text.index(after: colon)...]
        guard let weight = Double(tail), weight.isFinite, !tail.lowercased().contains("x") else {
            if tail.contains("/") || Directory.kind(of: String(text[..<colon])) == nil {
                self.init(path: text)
                return
            }
            throw Problem(
                .usage, "bad-weight", "'\(tail)' in '\(text)' is no number, but a weight was needed",
                hint: "write PATH:WEIGHT, as in style:0.5 or style:-1")
        }
        self.init(path: String(text[..<colon]), weight: weight)
    }
}
