import Models
import Problems

/// Where a prefix and the text behind it fit: the virtual tokens take positions like any others.
struct PrefixRoom {
    /// Positions that the base was made for.
    private let limit: Int?
    /// Positions that a query sees, where a layer does not see all: out of a window the prefix would move, as the text grows.
    private let window: Int?

    init(_ config: LlamaConfig) {
        limit = config.positions
        window = config.firstWindowLayer < config.layers ? config.window : nil
    }

    /// Positions of prefix and text together; `nil` for any number.
    var positions: Int? { [limit, window].compactMap { $0 }.min() }

    /// Refuses a prefix with sequences behind it that do not fit.
    func check(_ path: String, _ prefix: Int, _ length: Int) throws(Problem) {
        guard let positions, prefix + length > positions else { return }
        // A window that is no narrower than the positions says nothing new.
        let isWindow = positions != limit
        throw Problem(
            .incompatible, isWindow ? "prefix-window" : "too-long", file: path,
            (isWindow
                ? "sees a window of \(positions) positions, out of which a prefix would move"
                : "was made for sequences of up to \(positions) tokens, a prefix among them")
                + ": --prefix-length \(prefix) and --length \(length) are \(prefix + length)",
            hint: prefix < positions - 1
                ? "give --length \(positions - prefix) or less, or a shorter prefix" : "give a shorter --prefix-length")
    }
}
