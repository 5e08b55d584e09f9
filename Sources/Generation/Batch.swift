import Adapters
import Files
import Problems
import StrictJSON

/// Prompts from JSON lines, each with its adapters; a multi-adapter server's work in one go.
public struct Batch: Sendable {
    /// One line.
    public struct Request: Sendable {
        /// The line's number in the file.
        public let line: Int
        /// The prompt's text; `nil` where ids were given.
        public let text: String?
        /// The prompt's ids, where they were given.
        public let ids: [Int]?
        /// What is in use for it.
        public let adapters: [AdapterOperand]
        /// How its text is made.
        public let options: GenerationOptions
    }

    /// The lines in order.
    public let requests: [Request]
    /// The file that they are from, for messages.
    private let file: String?

    private static let fields = [
        "prompt", "ids", "adapter", "max_tokens", "temperature", "top_k", "top_p", "seed", "stop", "ignore_eos",
    ]

    /// Reads all lines of a file, or of standard input (`-`), and refuses it if one of them makes no sense.
    ///
    /// - Parameters:
    ///   - adapters: what is in use for lines that name none; `null` is the base alone.
    ///   - options: what lines do not say otherwise.
    public init(path: String, adapters: [AdapterOperand], _ options: GenerationOptions) throws(Problem) {
        let file = StandardStreams.inputName(path)
        do throws(Problem) {
            try self.init(
                StandardStreams.readInput(path, limit: 1 << 30), file: file, adapters: adapters, options)
        } catch {
            throw error.at(file: file)
        }
    }

    /// The same for the bytes of a file.
    public init(
        _ bytes: [UInt8], file: String? = nil, adapters: [AdapterOperand], _ options: GenerationOptions
    ) throws(Problem) {
        self.file = file
        requests = try JSONLines.split(bytes).map { (entry) throws(Problem) in
            let value = try JSONLines.value(entry)
            do throws(Problem) {
                return try Self.request(entry.number, value, adapters, options)
            } catch {
                var copy = error
                copy.message = "line \(entry.number): \(error.message)"
                throw copy
            }
        }
        guard !requests.isEmpty else {
            throw Problem(
                .malformed, "empty-batch", "has no lines",
                hint: "each line is an object: {\"prompt\": \"...\", \"adapter\": \"PATH\"}")
        }
    }

    private static func request(
        _ line: Int, _ value: JSONValue, _ adapters: [AdapterOperand], _ options: GenerationOptions
    ) throws(Problem) -> Request {
        guard let object = value.object else { throw bad("is no JSON object") }
        for entry in object.entries where !fields.contains(entry.key) {
            throw Problem(
                .malformed, "unknown-field", "the field '\(String(entry.key.unicodeScalars.prefix(80)))' is not known",
                hint: "fields are: \(fields.joined(separator: ", "))")
        }
        let ids = object["ids"]?.array?.compactMap { $0.number?.int }
        let text = object["prompt"]?.string
        guard (text == nil) != (ids == nil), object["ids"] == nil || ids?.count == object["ids"]?.array?.count,
            object["prompt"] == nil || text != nil
        else { throw bad("needs a text as 'prompt', or whole numbers as 'ids'") }
        var own = options
        if let count = try whole(object, "max_tokens", from: 0) { own.maxTokens = count }
        if let temperature = try number(object, "temperature") { own.sampling.temperature = temperature }
        if let k = try whole(object, "top_k", from: 1) { own.sampling.topK = k }
        if let p = try number(object, "top_p") { own.sampling.topP = p }
        if let p = own.sampling.topP, p <= 0 || p > 1 { throw bad("'top_p' should be above 0, and at most 1") }
        if let seed = try whole(object, "seed", from: 0) { own.seed = UInt64(seed) }
        if let stops = object["stop"] { own.stops = try texts(stops, "stop") }
        if let ignores = object["ignore_eos"] {
            guard let flag = ignores.bool else { throw bad("'ignore_eos' should be true or false") }
            own.ignoresEnd = flag
        }
        if object["temperature"] == nil, own.sampling.temperature == 0, object["top_k"] != nil || object["top_p"] != nil
        {
            own.sampling.temperature = 1
        }
        let operands = try object["adapter"].map { (value) throws(Problem) in try named(value) } ?? adapters
        return Request(line: line, text: text, ids: ids, adapters: operands, options: own)
    }

    private static func named(_ value: JSONValue) throws(Problem) -> [AdapterOperand] {
        if value == .null { return [] }
        return try texts(value, "adapter").map { (text) throws(Problem) in try AdapterOperand(text) }
    }

    private static func bad(_ message: String) -> Problem { Problem(.malformed, "bad-request", message) }

    private static func whole(_ object: JSONObject, _ key: String, from least: Int) throws(Problem) -> Int? {
        guard let value = object[key], value != .null else { return nil }
        guard let number = value.number?.int, number >= least else {
            throw bad("'\(key)' should be a whole number of at least \(least)")
        }
        return number
    }

    private static func number(_ object: JSONObject, _ key: String) throws(Problem) -> Double? {
        guard let value = object[key], value != .null else { return nil }
        guard let number = value.number?.double, number.isFinite, number >= 0 else {
            throw bad("'\(key)' should be a number of at least 0")
        }
        return number
    }

    private static func texts(_ value: JSONValue, _ key: String) throws(Problem) -> [String] {
        let items = value.array ?? [value]
        let texts = items.compactMap(\.string)
        guard texts.count == items.count else { throw bad("'\(key)' should be a text, or a list of texts") }
        return texts
    }

    /// Makes all texts, in the order of the lines.
    ///
    /// Everything that can be wrong with a line is found before the first text is begun.
    ///
    /// - Parameters:
    ///   - isCancelled: asked before each token; what is not made then is left out.
    ///   - body: gets each line with its text.
    public func run(
        _ shelf: AdapterShelf, _ generator: (Decoder) throws(Problem) -> Generator,
        isCancelled: () -> Bool = { false }, _ body: (Request, Generated) throws(Problem) -> Void
    ) throws(ProblemList) {
        var decoders: [String: Decoder] = [:]
        var prompts: [[Int]] = []
        for request in requests {
            if decoders[Self.key(request)] == nil {
                try located(request) { () throws(ProblemList) in try shelf.use(request.adapters) }
                try listed(request) { () throws(Problem) in decoders[Self.key(request)] = try shelf.decoder() }
            }
            guard let decoder = decoders[Self.key(request)] else { continue }
            try listed(request) { () throws(Problem) -> Void in
                let maker = try generator(decoder)
                let ids =
                    if let ids = request.ids { ids } else { try maker.ids(ofPrompt: Array((request.text ?? "").utf8)) }
                try maker.check(ids)
                prompts.append(ids)
            }
        }
        for (request, prompt) in zip(requests, prompts) {
            guard let decoder = decoders[Self.key(request)], !isCancelled() else { continue }
            var made: Generated?
            try listed(request) { () throws(Problem) in
                made = try generator(decoder).run(prompt, request.options, isCancelled: isCancelled)
            }
            do throws(Problem) {
                try checkInterrupted()
                if let made, made.reason != .interrupted { try body(request, made) }
            } catch {
                throw ProblemList([error])
            }
        }
        do throws(Problem) { try checkInterrupted() } catch { throw ProblemList([error]) }
    }

    private static func key(_ request: Request) -> String {
        request.adapters.map { "\($0.path):\($0.weight)" }.joined(separator: "\n")
    }

    private func listed(_ request: Request, _ body: () throws(Problem) -> Void) throws(ProblemList) {
        try located(request) { () throws(ProblemList) in
            do throws(Problem) { try body() } catch { throw ProblemList([error]) }
        }
    }

    /// Says of which line a problem is.
    private func located(_ request: Request, _ body: () throws(ProblemList) -> Void) throws(ProblemList) {
        do throws(ProblemList) {
            try body()
        } catch {
            throw ProblemList(error.problems.map { $0.kind == .interrupted ? $0 : located($0, request.line) })
        }
    }

    private func located(_ problem: Problem, _ line: Int) -> Problem {
        var copy = problem
        // What is wrong with another file or its tensor is said after the place that names it.
        let place = [problem.file, problem.tensor.map { "tensor '\($0)'" }].compactMap { $0.map { "\($0): " } }
        copy.message = "line \(line): \(place.joined())\(problem.message)"
        (copy.file, copy.tensor) = (file, nil)
        return copy
    }
}
