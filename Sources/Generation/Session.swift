import Adapters
import Files
import Problems

/// The conversation of a terminal without the terminal: lines go in, and what to do comes out.
///
/// A line that begins with `/` is a command; `//` begins a prompt that begins with a slash. Each prompt stands for itself.
public struct Session {
    /// What a line asks for.
    public enum Answer: Sendable, Equatable {
        /// Continue this text.
        case prompt(String)
        /// Tell this.
        case say([String])
        /// End the session.
        case quit
        /// An empty line.
        case nothing
    }

    /// The base with its adapters.
    public let shelf: AdapterShelf
    /// How texts are made; `seed` is used for each prompt.
    public var options: GenerationOptions
    private var made: Decoder?

    /// Begins with what is in use on the shelf.
    public init(_ shelf: AdapterShelf, _ options: GenerationOptions) {
        self.shelf = shelf
        self.options = options
    }

    /// What the commands are.
    public static let help = [
        "/use ADAPTER[:W]...  use these adapters and no others; read once, then changed at once. A name with a space is",
        "                     written as in a shell: 'my adapter', or my\\ adapter",
        "/base                use none",
        "/weight NAME W       give an adapter in use another weight",
        "/adapters            list what is in use",
        "/seed N              make the same choices from here on",
        "/help                this list",
        "/quit                end; so does the end of input",
        "Anything else is a prompt; one that begins with a slash is written with two. Ctrl-C stops a text.",
    ]

    /// The model as it is now, made once for each set of adapters.
    public mutating func decoder() throws(Problem) -> Decoder {
        if let made { return made }
        let new = try shelf.decoder()
        made = new
        return new
    }

    /// Takes one line.
    ///
    /// - Throws: what is wrong with a command; then everything stays as it was.
    public mutating func take(_ line: String) throws(ProblemList) -> Answer {
        guard line.contains(where: { !$0.isWhitespace }) else { return .nothing }
        guard line.hasPrefix("/") else { return .prompt(line) }
        if line.hasPrefix("//") { return .prompt(String(line.dropFirst())) }
        let words = try Self.words(line)
        let rest = Array(words.dropFirst())
        switch (words[0], rest.count) {
        case ("/quit", 0), ("/exit", 0): return .quit
        case ("/help", 0): return .say(Self.help)
        case ("/adapters", 0): return .say(listing)
        case ("/base", 0): return try use([])
        case ("/use", 1...): return try use(try rest.map { (word) throws(ProblemList) in try Self.operand(word) })
        case ("/weight", 2): return try weigh(rest[0], rest[1])
        case ("/seed", 1):
            guard let seed = UInt64(rest[0]) else {
                throw Self.usage("'\(rest[0])' is no seed: a whole number was needed")
            }
            options.seed = seed
            return .say(["seed \(seed)"])
        case ("/quit", _), ("/exit", _), ("/help", _), ("/adapters", _), ("/base", _):
            throw Self.usage("'\(words[0])' takes nothing more")
        case ("/use", _): throw Self.usage("'/use' needs adapters: /use ADAPTER[:W]...; /base uses none")
        case ("/weight", _): throw Self.usage("'/weight' needs a name and a number: /weight NAME W")
        case ("/seed", _): throw Self.usage("'/seed' needs a number: /seed N")
        default:
            throw Self.usage("there is no command '\(words[0])'", hint: "/help lists them; a prompt may begin with //")
        }
    }

    /// The words of a command, with quotes and backslashes as in a shell.
    private static func words(_ line: String) throws(ProblemList) -> [String] {
        var words: [String] = []
        var word: String?
        var quote: Character?
        var rest = line[...]
        while let next = rest.popFirst() {
            if next == quote {
                quote = nil
            } else if next == "\\", quote != "'" {
                guard let escaped = rest.popFirst() else {
                    throw usage("the line ends with a backslash", hint: "write two for a backslash itself")
                }
                // Between double quotes, most backslashes stand for themselves.
                let isKept = quote == "\"" && !"\"\\$`".contains(escaped)
                word = (word ?? "") + (isKept ? "\\" : "") + String(escaped)
            } else if quote == nil, next == "'" || next == "\"" {
                quote = next
                word = word ?? ""
            } else if quote == nil, next.isWhitespace {
                if let word { words.append(word) }
                word = nil
            } else {
                word = (word ?? "") + String(next)
            }
        }
        if let quote {
            throw usage("the quote \(quote) is not closed", hint: "write \\\(quote) for the character itself")
        }
        return words + (word.map { [$0] } ?? [])
    }

    private static func usage(_ message: String, hint: String? = nil) -> ProblemList {
        ProblemList([Problem(.usage, "bad-command", message, hint: hint)])
    }

    private static func operand(_ word: String) throws(ProblemList) -> AdapterOperand {
        do throws(Problem) {
            return try AdapterOperand(word)
        } catch {
            throw ProblemList([error])
        }
    }

    private mutating func use(_ operands: [AdapterOperand]) throws(ProblemList) -> Answer {
        try shelf.use(operands)
        made = nil
        return .say(listing)
    }

    private mutating func weigh(_ name: String, _ number: String) throws(ProblemList) -> Answer {
        let named = shelf.inUse.indices.filter {
            shelf.inUse[$0].path == name || lastComponent(of: shelf.inUse[$0].path) == name
        }
        guard let at = named.first, named.count == 1 else {
            throw Self.usage(
                named.isEmpty ? "no adapter '\(name)' is in use" : "'\(name)' may be any of \(named.count) adapters",
                hint: named.isEmpty ? "/adapters lists them" : "name it by its path")
        }
        guard let weight = Double(number), weight.isFinite, !number.lowercased().contains("x") else {
            throw Self.usage("'\(number)' is no number, but a weight was needed")
        }
        var operands = shelf.inUse
        operands[at] = AdapterOperand(path: operands[at].path, weight: weight)
        return try use(operands)
    }

    /// What is in use, a line each.
    private var listing: [String] {
        if shelf.inUse.isEmpty { return ["base alone"] }
        return shelf.inUse.map { "base + \($0.path)" + ($0.weight == 1 ? "" : ", weight \($0.weight)") }
    }
}
