/// One option of a tool: all that the parser, the help, the manual page and the completions need to know.
public struct Option: Sendable {
    /// The long name, without dashes: `output`.
    public var name: String
    /// The letter of the short form, for the options used most.
    public var short: Character?
    /// The placeholder of its value (`DIR`), nil for a flag.
    ///
    /// Completions take it as a hint: `DIR` completes directories; `FILE`, `PATH`, `OUT`, `BASE`, `MODEL`, `ADAPTER`,
    /// `OTHER` and `RECORD` complete files.
    public var value: String?
    /// Whether it may be given more than once.
    public var repeats: Bool
    /// What it does: one sentence for the short help, any further ones for the long help.
    public var help: String
    /// The only values allowed.
    public var choices: [String]?
    /// The heading it stands under in the long help.
    public var group: String?
    /// Whether help and completions leave it out.
    public var hidden: Bool
    /// Whether `--no-NAME` takes the flag back.
    public var negatable: Bool

    /// Describes an option; see the properties.
    public init(
        _ name: String, short: Character? = nil, value: String? = nil, repeats: Bool = false, help: String,
        choices: [String]? = nil, group: String? = nil, hidden: Bool = false, negatable: Bool = false
    ) {
        self.name = name
        self.short = short
        self.value = value ?? (choices == nil ? nil : "WORD")
        self.repeats = repeats
        self.help = help
        self.choices = choices
        self.group = group
        self.hidden = hidden
        self.negatable = negatable
    }

    /// The options that every tool has.
    static let shared = [
        Option("json", help: "Print one JSON document instead of text."),
        Option("quiet", short: "q", help: "Print errors only: no warnings, notes, hints or progress."),
        Option("no-progress", help: "Show no progress bar. It is shown only where stderr is a terminal."),
        Option("help", short: "h", help: "Print help and stop: -h in brief, --help in full."),
        Option("version", short: "V", help: "Print the version and stop."),
        Option(
            "generate", value: "KIND",
            help: "Print the manual page, or a completion script for a shell, and stop.",
            choices: ["man", "bash", "zsh", "fish"]),
    ].map { option in
        var option = option
        option.group = "Common options"
        return option
    }

    /// How a completion script finds values.
    enum Completion: Equatable {
        case words([String]), directories, files, nothing
    }

    var completion: Completion {
        if let choices { return .words(choices) }
        guard let value else { return .nothing }
        if value.hasPrefix("DIR") { return .directories }
        let paths = ["FILE", "PATH", "OUT", "BASE", "MODEL", "ADAPTER", "OTHER", "RECORD"]
        return paths.contains(where: value.hasPrefix) ? .files : .nothing
    }

    /// The long form, with its negation where it has one: `--[no-]cache`.
    var longForm: String { (negatable ? "--[no-]" : "--") + name }

    /// The first sentence of the help, without its full stop.
    var brief: String {
        var sentence = Substring()
        for (index, letter) in zip(help.indices, help) {
            let rest = help[help.index(after: index)...].prefix(2)
            // What follows `e.g.` is no new sentence, and has no capital.
            if letter == ".", rest.isEmpty || rest.first == " " && rest.last?.isLowercase == false { break }
            sentence.append(letter)
        }
        return String(sentence)
    }
}
