/// A text as ids, and what should follow each.
public struct TokenSequence: Sendable, Equatable {
    /// The ids (n).
    public var ids: [Int32]
    /// The id that should follow each (n); `TokenSequence.ignored` where that does not count.
    public var targets: [Int32]

    /// The target of a position that does not count.
    public static let ignored: Int32 = -1

    /// A sequence; see the properties.
    public init(ids: [Int32], targets: [Int32]) {
        precondition(ids.count == targets.count, "a target for each id")
        (self.ids, self.targets) = (ids, targets)
    }

    /// How many targets count.
    public var targetCount: Int { targets.count { $0 != Self.ignored } }

    /// A stream of ids cut into sequences of `length`: each id but the first is a target once.
    static func blocks(_ stream: [Int32], length: Int) -> [TokenSequence] {
        var result: [TokenSequence] = []
        for start in stride(from: 0, to: max(0, stream.count - 1), by: length) {
            let end = min(stream.count - 1, start + length)
            result.append(TokenSequence(ids: Array(stream[start..<end]), targets: Array(stream[start + 1...end])))
        }
        return result
    }
}
