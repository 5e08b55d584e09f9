import Adapters
import Console
import Files
import Generation
import Glibc
import Problems
import Tensors

/// What a command line asks for.
struct Request {
    /// Where the prompt comes from, and what becomes of it.
    enum Work {
        case text(Prompt)
        case logits(Prompt, path: String, replacing: Bool)
        case perplexity(path: String, window: Int?, stride: Int?)
        case batch(path: String)
        case session
    }

    enum Prompt {
        case text([UInt8])
        case ids([Int])
        case file(String)
        case standardInput
    }

    let base: String
    let adapters: [AdapterOperand]
    let work: Work
    let options: GenerationOptions
    /// Whether the seed was drawn, and must be told.
    let isSeedChosen: Bool
    let threads: Int

    init(_ arguments: Arguments) throws {
        base = arguments.operands[0]
        adapters = try arguments.operands.dropFirst().map(AdapterOperand.init)
        threads = try arguments.int("threads", in: 1...1024) ?? Workers.processors
        let seed = try arguments.int("seed", in: 0...Int.max)
        var options = GenerationOptions()
        options.maxTokens = try arguments.int("max-tokens", in: 0...Int.max) ?? options.maxTokens
        options.sampling.topK = try arguments.int("top-k", in: 1...Int.max)
        options.sampling.topP = try arguments.number("top-p", in: 0...1)
        guard options.sampling.topP != 0 else {
            throw Problem(.usage, "bad-value", "--top-p must be above 0, and at most 1")
        }
        let draws = options.sampling.topK != nil || options.sampling.topP != nil
        options.sampling.temperature =
            try arguments.number("temperature", in: 0...Double.greatestFiniteMagnitude) ?? (draws ? 1 : 0)
        options.seed = seed.map { UInt64($0) } ?? UInt64.random(in: 0...999_999_999)
        options.stops = arguments.values("stop")
        guard !options.stops.contains("") else { throw Problem(.usage, "bad-value", "--stop needs a text") }
        options.ignoresEnd = arguments.flag("ignore-eos")
        options.lookahead = try arguments.int("lookahead", in: 0...64) ?? options.lookahead
        isSeedChosen = seed == nil
        self.options = options
        work = try Self.work(arguments)
        try check(arguments)
    }

    private static func work(_ arguments: Arguments) throws -> Work {
        let sources = ["prompt", "prompt-file", "ids", "batch", "perplexity"].filter { arguments.value($0) != nil }
        guard sources.count <= 1 else {
            throw Problem(
                .usage, "several-inputs", "--\(sources[0]) and --\(sources[1]) cannot both be the input",
                hint: "give one of them")
        }
        if let path = arguments.value("perplexity") {
            return .perplexity(
                path: path, window: try arguments.int("window", in: 1...Int.max),
                stride: try arguments.int("stride", in: 1...Int.max))
        }
        if let path = arguments.value("batch") { return .batch(path: path) }
        let prompt = try prompt(arguments)
        if let path = arguments.value("logits") {
            return .logits(prompt, path: path, replacing: arguments.flag("force"))
        }
        if case .standardInput = prompt, isatty(STDIN_FILENO) == 1 {
            guard !arguments.flag("json") else {
                throw Problem(
                    .usage, "no-prompt", "--json needs a prompt: a session is no document", hint: "add --prompt TEXT")
            }
            return .session
        }
        return .text(prompt)
    }

    private static func prompt(_ arguments: Arguments) throws -> Prompt {
        if let text = arguments.value("prompt") { return .text(Array(text.utf8)) }
        if let path = arguments.value("prompt-file") { return .file(path) }
        guard let text = arguments.value("ids") else { return .standardInput }
        let words = text.split { $0 == " " || $0 == "," }
        let ids = words.compactMap { Int($0) }
        guard ids.count == words.count else {
            throw Problem(
                .usage, "bad-ids", "--ids is '\(text)', but must be whole numbers", hint: "write --ids \"1 2 3\"")
        }
        return .ids(ids)
    }

    /// Options that mean nothing for this work are refused, not overlooked.
    private func check(_ arguments: Arguments) throws {
        let only: [(option: String, with: String)] = [
            ("window", "perplexity"), ("stride", "perplexity"), ("force", "logits"),
        ]
        for (option, with) in only where arguments.isGiven(option) && arguments.value(with) == nil {
            throw Problem(.usage, "bad-option", "--\(option) goes with --\(with) alone")
        }
        let making = ["max-tokens", "temperature", "top-k", "top-p", "seed", "stop", "ignore-eos", "lookahead"]
        for instead in ["logits", "perplexity"] where arguments.value(instead) != nil {
            for option in making where arguments.isGiven(option) {
                throw Problem(
                    .usage, "bad-option", "--\(option) goes with text, but --\(instead) makes none",
                    hint: "leave it out")
            }
        }
        if arguments.value("logits") != nil, let other = ["batch", "perplexity"].first(where: arguments.isGiven) {
            throw Problem(.usage, "bad-option", "--logits goes with one prompt, not with --\(other)")
        }
    }
}

extension Arguments {
    /// Whether an option was given at all.
    fileprivate func isGiven(_ name: String) -> Bool { flag(name) || !values(name).isEmpty }
}
