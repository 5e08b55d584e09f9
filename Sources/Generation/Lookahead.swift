/// Guesses the next tokens from the text itself: after the same few tokens, the same ones as before.
///
/// This is prompt lookup decoding (Saxena 2023; `prompt_lookup_num_tokens` of transformers).
/// Some positions at once take hardly longer than one, since both wait for the weights. Each position's logits are what they
/// would be alone, so that guesses decide how long a text takes, and never what it is.
struct Lookahead {
    /// Tokens that must be the same.
    private static let matched = 3
    /// Steps that go without a guess after several wrong ones.
    private static let longestPause = 32

    /// The most tokens that are guessed; 0 for none.
    let limit: Int
    private var ids: [Int] = []
    /// Where a token stands that followed these, the last such.
    private var places: [[Int]: Int] = [:]
    private var pause = 0
    private var nextPause = 1

    init(limit: Int, _ ids: [Int]) {
        self.limit = limit
        for id in ids { add(id) }
    }

    /// Takes a token that was made.
    mutating func add(_ id: Int) {
        guard limit > 0 else { return }
        if ids.count >= Self.matched { places[ids.suffix(Self.matched)] = ids.count }
        ids.append(id)
    }

    /// What may come next, at most `most` tokens.
    mutating func guess(most: Int) -> [Int] {
        guard limit > 0, most > 0 else { return [] }
        guard pause == 0 else {
            pause -= 1
            return []
        }
        guard let place = places[ids.suffix(Self.matched)] else { return [] }
        return Array(ids[place..<min(ids.count, place + min(limit, most))])
    }

    /// Learns how many of the guessed tokens were right: after wrong ones it waits longer and longer.
    mutating func learn(right: Int, of count: Int) {
        guard count > 0 else { return }
        if right > 0 {
            nextPause = 1
        } else {
            pause = nextPause
            nextPause = min(Self.longestPause, 2 * nextPause)
        }
    }
}

extension [[Int]: Int] {
    fileprivate subscript(key: ArraySlice<Int>) -> Int? {
        get { self[Array(key)] }
        set { self[Array(key)] = newValue }
    }
}
