import Problems

/// A sequence of ids, and which of them count where they are predicted.
public struct LabelledIDs: Sendable, Equatable {
    /// The ids (n).
    public let ids: [Int]
    /// What should be predicted at each place (n), or `ignored`; `nil` where it is `ids`.
    ///
    /// As transformers has it, a label stands at its own token, not at the one before.
    public let labels: [Int]?

    /// The label of a place that does not count.
    public static let ignored = -100

    /// See the properties.
    public init(_ ids: [Int], labels: [Int]? = nil) { (self.ids, self.labels) = (ids, labels) }

    /// What should be predicted at a place; `nil` where that does not count.
    public func target(_ place: Int) -> Int? {
        guard let labels else { return ids[place] }
        return labels[place] == Self.ignored ? nil : labels[place]
    }

    /// How many ids are predicted: of those that count, all but a first one.
    public var targetCount: Int {
        labels.map { labels in labels.dropFirst().count { $0 != Self.ignored } } ?? max(0, ids.count - 1)
    }
}

/// The names under which files have ids that were prepared elsewhere: of a tensor, or of a field of a JSON line.
enum PreparedNames {
    static let all = ["input_ids", "ids", "tokens"]

    /// The one that is there, if any.
    static func only(_ isThere: (String) -> Bool) throws(Problem) -> String? {
        let found = all.filter(isThere)
        guard found.count < 2 else {
            throw Problem(
                .malformed, "two-ids", "has both '\(found[0])' and '\(found[1])', but only one of them can be the ids",
                hint: "leave one of them out")
        }
        return found.first
    }
}
