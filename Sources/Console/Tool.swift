/// A command-line tool as one table, from which come its parser, help, manual page and completions.
public struct Tool: Sendable {
    /// An operand: what it is called, and what it is.
    public typealias Operand = (name: String, help: String)
    /// A command line, and what it does.
    public typealias Example = (command: String, what: String)
    /// An exit code, and what it tells.
    public typealias ExitCode = (code: Int32, meaning: String)

    /// The command's name.
    public let name: String
    /// What it does, in a few words.
    public let summary: String
    /// The ways to call it.
    public let usage: [String]
    /// The paragraphs of the description.
    public let description: [String]
    /// Its options, with those all tools share at the end.
    public let options: [Option]
    /// Its operands, in order.
    public let operands: [Operand]
    /// Command lines to learn from.
    public let examples: [Example]
    /// What each exit code tells.
    public let exitCodes: [ExitCode]
    /// Further lines for `--version`.
    let versionDetails: @Sendable () -> [String]

    /// Describes a tool; the options that all tools share are added.
    ///
    /// - Parameters:
    ///   - usage: the ways to call it, with or without the command's name.
    ///   - operands: `BASE` stands for exactly one, `ADAPTER...` for one or more, `[PATH]` and `[PATH...]` may be
    ///     missing. The parser checks their number; none at all means that operands are refused.
    ///   - versionDetails: further lines for `--version`, worked out only when asked for.
    public init(
        name: String, summary: String, usage: [String], description: [String], options: [Option],
        operands: [Operand], examples: [Example], exitCodes: [ExitCode] = Tool.standardExitCodes,
        versionDetails: @escaping @Sendable () -> [String] = { [] }
    ) {
        self.name = name
        self.summary = summary
        self.usage = usage.map { $0 == name || $0.hasPrefix(name + " ") ? $0 : "\(name) \($0)" }
        self.description = description
        self.options = options + Option.shared
        self.operands = operands
        self.examples = examples
        self.exitCodes = exitCodes
        self.versionDetails = versionDetails
        let names = self.options.map(\.name) + self.options.compactMap { $0.short.map(String.init) }
        precondition(Set(names).count == names.count, "an option name is used twice in \(name)")
    }

    /// What the exit codes of all tools tell.
    public static let standardExitCodes: [ExitCode] = [
        (0, "It is done, or the answer is yes."),
        (1, "The answer is no: incompatible, damaged or different."),
        (64, "The command line makes no sense."),
        (65, "A file breaks its format."),
        (66, "An input is missing."),
        (70, "A defect of this program."),
        (73, "The output exists already, or cannot be made."),
        (74, "Reading or writing failed."),
        (130, "Stopped by a signal (143 for SIGTERM); what was there before is untouched."),
    ]

    /// The option of that name.
    func option(_ name: String) -> Option? { options.first { $0.name == name } }

    /// The fewest and the most operands it takes.
    var operandCounts: ClosedRange<Int> {
        let least = operands.count { !$0.name.hasPrefix("[") }
        return least...(operands.contains { $0.name.contains("...") } ? .max : operands.count)
    }

    /// The options that help shows, by heading: the tool's own first, the shared ones last.
    var groups: [(heading: String, options: [Option])] {
        var groups: [(heading: String, options: [Option])] = [("Options", [])]
        for option in options where !option.hidden {
            let heading = option.group ?? "Options"
            if let index = groups.firstIndex(where: { $0.heading == heading }) {
                groups[index].options.append(option)
            } else {
                groups.append((heading, [option]))
            }
        }
        return groups.filter { !$0.options.isEmpty }
    }

    var versionText: String {
        (["\(name) \(adapterKitVersion) (AdapterKit)"] + versionDetails()).joined(separator: "\n")
    }
}
