import Adapters
import CPosix
import Console
import Files
import Generation
import Problems
import Tokenization

/// One run of the tool on an open base.
struct GenerateRun {
    let request: Request
    let shelf: AdapterShelf
    let tokenizer: any Tokenizer
    let terminal: Terminal
    let started: Double

    func run() throws -> Int32 {
        switch request.work {
        case .batch(let path): return try batch(path)
        case .session:
            try use()
            var session = TerminalSession(context: self, session: Session(shelf, request.options))
            return try session.run()
        case .text(let prompt): return try text(prompt)
        case .logits(let prompt, let path, let replacing): return try logits(prompt, path, replacing)
        case .perplexity(let path, let window, let stride): return try perplexity(path, window, stride)
        }
    }

    /// Attaches the adapters of the command line, and tells what was noticed.
    func use() throws {
        try shelf.use(request.adapters)
        tellNotes()
    }

    func tellNotes() {
        terminal.report(terminal.json ? shelf.notes : shelf.notes.gathered)
        shelf.notes = []
    }

    func generator(_ decoder: Decoder) -> Generator { Generator(decoder, tokenizer) { Clock.now } }

    private func ids(_ prompt: Request.Prompt, _ generator: Generator) throws -> [Int] {
        switch prompt {
        case .ids(let ids): return ids
        case .text(let text): return try generator.ids(ofPrompt: text)
        case .file(let path):
            return try generator.ids(ofPrompt: StandardStreams.readInput(path, limit: 1 << 30))
        case .standardInput:
            return try generator.ids(ofPrompt: StandardStreams.readInput("-", limit: 1 << 30))
        }
    }

    private func text(_ prompt: Request.Prompt) throws -> Int32 {
        try use()
        let generator = generator(try shelf.decoder())
        guard request.options.stops.isEmpty || BaseTokenizer.hasTexts(tokenizer) else {
            throw Problem(
                .usage, "no-tokenizer", "--stop needs a text, but the base has no tokenizer that makes one",
                hint: "put the model's tokenizer.json beside it")
        }
        let ids = try ids(prompt, generator)
        try generator.check(ids)
        let loaded = Clock.now - started
        let result = try generator.run(ids, request.options, isCancelled: { isStopped }) { (text) throws(Problem) in
            guard !terminal.json else { return }
            terminal.write(shown(text))
            try terminal.flush()
        }
        if terminal.json {
            terminal.print(json: document(result, request.adapters, request.options, loaded: loaded))
        } else {
            if !result.text.isEmpty, !result.text.hasSuffix("\n") { terminal.print() }
            if !BaseTokenizer.hasTexts(tokenizer) { terminal.print(result.ids.map(String.init).joined(separator: " ")) }
            try tell(result, request.options)
        }
        if result.reason == .interrupted, !terminal.outputIsClosed { try checkInterrupted() }
        return 0
    }

    /// Whether nobody wants more text.
    var isStopped: Bool { ak_signal_seen() != 0 || terminal.outputIsClosed }

    /// A text of a model as a terminal may see it.
    func shown(_ text: String) -> String {
        guard StandardStreams.outputIsTerminal else { return text }
        return text.unicodeScalars.map { $0 == "\n" || $0 == "\t" ? String($0) : escaped(String($0)) }.joined()
    }

    /// The summary of a text that was made with `options`.
    func tell(_ result: Generated, _ options: GenerationOptions) throws {
        // What was made comes before what is said of it, also where both go to one file.
        try terminal.flush()
        var parts = ["\(Humane.count(result.ids.count, "token"))"]
        if let speed = result.tokensPerSecond { parts[0] += " (\(Humane.significant(speed, digits: 3)) tokens/s)" }
        parts.append(
            "prompt of \(Humane.count(result.prompt.count, "token")) in \(Humane.duration(result.promptSeconds))")
        switch result.reason {
        case .end: parts.append("ended by the model")
        case .stop: parts.append("stopped at a stop text")
        case .positions: parts.append("stopped at the last position that the model was made for")
        case .interrupted: parts.append("interrupted")
        case .length: break
        }
        let isToldSeed = request.isSeedChosen || options.seed != request.options.seed
        if isToldSeed, options.sampling.temperature > 0 { parts.append("seed \(options.seed)") }
        terminal.note(parts.joined(separator: ", "))
    }

    private func document(
        _ result: Generated, _ adapters: [AdapterOperand], _ options: GenerationOptions, loaded: Double
    ) -> JSON {
        .object(
            [("schema", "adapterkit.generate"), ("version", 1), ("base", .string(request.base))]
                + Self.members(result, adapters, options)
                + [("load_seconds", .double(loaded)), ("total_seconds", .double(Clock.now - started))])
    }

    /// What documents and lines of a batch have in common.
    private static func members(
        _ result: Generated, _ adapters: [AdapterOperand], _ options: GenerationOptions
    ) -> [(String, JSON)] {
        [
            (
                "adapters",
                .array(adapters.map { ["path": .string($0.path), "weight": .double($0.weight)] })
            ),
            ("text", .string(result.text)), ("ids", .array(result.ids.map(JSON.int))),
            ("prompt_ids", .array(result.prompt.map(JSON.int))), ("finish_reason", .string(result.reason.rawValue)),
            ("seed", options.sampling.temperature > 0 ? .int(Int(clamping: options.seed)) : .null),
            ("prompt_seconds", .double(result.promptSeconds)), ("seconds", .double(result.seconds)),
            ("tokens_per_second", .optional(result.tokensPerSecond)),
        ]
    }

    private func batch(_ path: String) throws -> Int32 {
        let batch = try Batch(path: path, adapters: request.adapters, request.options)
        var tokens = 0
        try batch.run(
            shelf, { (decoder) throws(Problem) in generator(decoder) }, isCancelled: { isStopped }
        ) { (line, result) throws(Problem) in
            tellNotes()
            tokens += result.ids.count
            let members = Self.members(result, line.adapters, line.options)
            terminal.print(JSON.object([("line", .int(line.line))] + members).compact)
            try terminal.flush()
        }
        if terminal.outputIsClosed { return 0 }
        terminal.note(
            "\(Humane.count(batch.requests.count, "prompt")), \(Humane.count(tokens, "token")) in "
                + Humane.duration(Clock.now - started))
        return 0
    }

    private func logits(_ prompt: Request.Prompt, _ path: String, _ replacing: Bool) throws -> Int32 {
        try requireSeparate(output: path, from: [request.base] + request.adapters.map(\.path))
        try StagedOutput.checkPlace(path: path, shape: .file, replacing: replacing)
        try use()
        let decoder = try shelf.decoder()
        let ids = try ids(prompt, generator(decoder))
        try LogitsFile.write(decoder, ids, to: path, replacing: replacing)
        if terminal.json {
            terminal.print(json: [
                "schema": "adapterkit.generate-logits", "version": 1, "output": .string(path),
                "tokens": .int(ids.count), "vocabulary": .int(decoder.logitCount),
            ])
        } else {
            terminal.print(
                "\(escaped(path)): logits of \(Humane.count(ids.count, "position")), \(Humane.count(decoder.logitCount)) each"
            )
        }
        return 0
    }

    private func perplexity(_ path: String, _ window: Int?, _ stride: Int?) throws -> Int32 {
        try use()
        let decoder = try shelf.decoder()
        let name = StandardStreams.inputName(path)
        let file = try TokenFile(path: path, tokenizer, end: shelf.config.endOfExample)
        let result: Perplexity
        do throws(Problem) {
            result = try Perplexity(decoder, tokenizer, file.sequences, window: window, stride: stride)
        } catch {
            throw error.kind == .usage || error.kind == .interrupted ? error : error.at(file: name)
        }
        if terminal.json {
            terminal.print(json: [
                "schema": "adapterkit.perplexity", "version": 1, "base": .string(request.base),
                "adapters": .array(
                    request.adapters.map { ["path": .string($0.path), "weight": .double($0.weight)] }),
                "file": .string(name), "tokens": .int(result.tokens), "loss": .double(result.loss),
                "perplexity": .double(result.perplexity), "bits_per_byte": .optional(result.bitsPerByte),
                "bytes": .optional(result.bytes), "sequences": .int(file.sequences.count),
            ])
            return 0
        }
        let bits = result.bitsPerByte.map { ", \(Humane.significant($0, digits: 4)) bits per byte" } ?? ""
        terminal.print(
            "\(escaped(name)): loss \(Humane.significant(result.loss, digits: 5)) nats, perplexity "
                + "\(Humane.significant(result.perplexity, digits: 5))\(bits); \(Humane.count(result.tokens, "token"))")
        return 0
    }
}
