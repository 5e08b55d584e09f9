import Problems
import Tokenization

/// What a text is made with.
public struct GenerationOptions: Sendable {
    /// The most tokens to make.
    public var maxTokens = 128
    /// How tokens are chosen.
    public var sampling = Sampling()
    /// The seed of the choices.
    public var seed: UInt64 = 0
    /// Texts at which to stop; they are left out.
    public var stops: [String] = []
    /// Whether ids that end a text are tokens like all others.
    public var ignoresEnd = false
    /// The most tokens that are guessed from the text so far and computed at once; it changes how long a text takes, and
    /// nothing else.
    public var lookahead = 3

    /// The defaults: 128 tokens, greedy.
    public init() {}
}

/// A text that was made.
public struct Generated: Sendable {
    /// Why it ended.
    public enum Reason: String, Sendable {
        /// The model ended it.
        case end
        /// A stop text came.
        case stop
        /// It has as many tokens as were asked for.
        case length
        /// It reached the positions that the model was made for.
        case positions
        /// Whoever asked for it wanted no more.
        case interrupted
    }

    /// The ids of the prompt.
    public let prompt: [Int]
    /// The ids that were made, with the one that ended the text.
    public var ids: [Int] = []
    /// Their text.
    public var text = ""
    /// Why it ended.
    public var reason = Reason.length
    /// Seconds that the prompt took, with the first choice.
    public var promptSeconds = 0.0
    /// Seconds that all after the first choice took.
    public var seconds = 0.0

    /// Tokens per second after the first one; `nil` if there was none.
    public var tokensPerSecond: Double? { ids.count > 1 && seconds > 0 ? Double(ids.count - 1) / seconds : nil }
}

/// Makes texts with one decoder.
public struct Generator: Sendable {
    /// The model.
    public let decoder: Decoder
    /// Its tokenizer.
    public let tokenizer: any Tokenizer
    /// Seconds by some clock.
    private let now: @Sendable () -> Double

    /// - Parameter now: a clock, in seconds.
    public init(_ decoder: Decoder, _ tokenizer: any Tokenizer, now: @escaping @Sendable () -> Double = { 0 }) {
        self.decoder = decoder
        self.tokenizer = tokenizer
        self.now = now
    }

    /// The ids of a prompt; an empty one is the id that begins a text.
    public func ids(ofPrompt text: [UInt8]) throws(Problem) -> [Int] {
        let ids = try tokenizer.encode(text)
        if ids.isEmpty, let begin = decoder.config.beginID { return [begin] }
        return ids
    }

    /// Refuses a prompt that nothing can follow.
    public func check(_ prompt: [Int]) throws(Problem) {
        guard !prompt.isEmpty else {
            throw Problem(
                .usage, "empty-prompt", "the prompt is empty, and the model has no token that begins a text",
                hint: "give a prompt of at least one character")
        }
        try decoder.check(prompt)
    }

    /// Continues a prompt.
    ///
    /// - Parameters:
    ///   - isCancelled: asked before each token.
    ///   - emit: gets the text in whole characters, as it is made.
    public func run(
        _ prompt: [Int], _ options: GenerationOptions, isCancelled: () -> Bool = { false },
        emit: (String) throws(Problem) -> Void = { (_) throws(Problem) in }
    ) throws(Problem) -> Generated {
        try check(prompt)
        var result = Generated(prompt: prompt)
        guard options.maxTokens > 0 else { return result }
        var stream = TextStream(stops: options.stops)
        var sampler = Sampler(options.sampling, seed: options.seed)
        var cache = decoder.newCache()
        let started = now()
        var lookahead = Lookahead(limit: options.lookahead, prompt)
        var rows = [try decoder.next(prompt, &cache)]
        var guesses: [Int] = []
        making: while true {
            for (at, logits) in rows.enumerated() {
                let id = try sampler.choose(logits)
                if result.ids.isEmpty { result.promptSeconds = now() - started }
                let text = try add(id, &result, &stream, options)
                lookahead.add(id)
                result.text += text
                if !text.isEmpty { try emit(text) }
                if let reason = reason(id, result, stream, options, isCancelled) {
                    result.reason = reason
                    break making
                }
                if at == guesses.count || id != guesses[at] {
                    lookahead.learn(right: at, of: guesses.count)
                    cache.removeLast(guesses.count - at)
                    break
                }
            }
            guesses = lookahead.guess(most: room(result, options) - 1)
            rows = try decoder.logits(result.ids.suffix(1) + guesses, &cache)
        }
        result.seconds = now() - started - result.promptSeconds
        let rest = stream.finish()
        result.text += rest
        if !rest.isEmpty { try emit(rest) }
        return result
    }

    private func isEnd(_ id: Int, _ options: GenerationOptions) -> Bool {
        !options.ignoresEnd && decoder.config.endIDs.contains(id)
    }

    private func add(
        _ id: Int, _ result: inout Generated, _ stream: inout TextStream, _ options: GenerationOptions
    ) throws(Problem) -> String {
        result.ids.append(id)
        if isEnd(id, options) { return "" }
        // How a token is written may depend on those before it; the last few are enough.
        let few = Array(result.ids.suffix(5))
        let before = try tokenizer.decode(few.dropLast(), skipsSpecial: true)
        return stream.take(Array(try tokenizer.decode(few, skipsSpecial: true).dropFirst(before.count)))
    }

    /// Tokens that can still be made.
    private func room(_ result: Generated, _ options: GenerationOptions) -> Int {
        // The last token made is in no cache yet, and needs no position if nothing follows it.
        let used = decoder.prefixLength + result.prompt.count + result.ids.count - 1
        return min(options.maxTokens - result.ids.count, (decoder.config.positions ?? .max) - used)
    }

    /// Why the text ends here, if it does.
    private func reason(
        _ id: Int, _ result: Generated, _ stream: TextStream, _ options: GenerationOptions, _ isCancelled: () -> Bool
    ) -> Generated.Reason? {
        if isEnd(id, options) { return .end }
        if stream.isStopped { return .stop }
        if result.ids.count >= options.maxTokens { return .length }
        if room(result, options) <= 0 { return .positions }
        return isCancelled() ? .interrupted : nil
    }
}
