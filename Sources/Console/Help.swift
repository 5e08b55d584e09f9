extension Tool {
    /// The help of `-h`: a line or two for each option, within 80 columns.
    var shortHelp: String {
        var lines = ["\(name): \(summary)", ""] + usageLines
        let terms = operands.map(\.name) + groups.flatMap { $0.options.map(Self.forms) }
        let margin = Self.margin(terms)
        if !operands.isEmpty {
            lines += ["", "Operands:"]
            lines += Self.pairs(operands.map { ($0.name, Self.firstSentence($0.help)) }, margin: margin)
        }
        for group in groups {
            lines += ["", group.heading + ":"]
            lines += Self.pairs(group.options.map { (Self.forms($0), Self.brief($0)) }, margin: margin)
        }
        lines += ["", "'\(name) --help' says more."]
        return lines.joined(separator: "\n") + "\n"
    }

    /// The help of `--help`: everything.
    var longHelp: String {
        var lines = ["\(name): \(summary)", ""] + usageLines
        for paragraph in description { lines += [""] + Self.wrapped(paragraph, indent: 0) }
        if !operands.isEmpty { lines += ["", "Operands:"] }
        for operand in operands { lines += ["  " + operand.name] + Self.wrapped(operand.help, indent: 6) }
        for group in groups {
            lines += ["", group.heading + ":"]
            for option in group.options {
                lines += ["  " + Self.forms(option).trimmingSpaces] + Self.wrapped(Self.fullHelp(option), indent: 6)
            }
        }
        if !examples.isEmpty { lines += ["", "Examples:"] }
        for example in examples { lines += ["  " + example.command] + Self.wrapped(example.what, indent: 6) }
        lines += ["", "Exit status:"]
        lines += Self.pairs(exitCodes.map { ("\($0.code)", $0.meaning) }, margin: 7)
        return lines.joined(separator: "\n") + "\n"
    }

    private var usageLines: [String] {
        usage.enumerated().map { ($0.offset == 0 ? "Usage: " : "       ") + $0.element }
    }

    /// All that help says of an option: what it does, its choices, whether it repeats.
    static func fullHelp(_ option: Option) -> String {
        var help = option.help
        if let choices = option.choices { help += " One of: " + choices.joined(separator: ", ") + "." }
        if option.repeats { help += " May be repeated." }
        return help
    }

    /// All forms of an option: `-o, --output DIR`.
    private static func forms(_ option: Option) -> String {
        let short = option.short.map { "-\($0), " } ?? "    "
        return short + option.longForm + (option.value.map { " " + $0 } ?? "")
    }

    private static func firstSentence(_ text: String) -> String { Option("", help: text).brief }

    /// Where explanations begin: right of all terms but the very long ones.
    private static func margin(_ terms: [String]) -> Int { min(30, (terms.map(\.columns).max() ?? 0) + 4) }

    /// The one sentence of the short help, with the choices.
    private static func brief(_ option: Option) -> String {
        option.brief + (option.choices.map { " (" + $0.joined(separator: ", ") + ")" } ?? "")
    }

    /// Terms on the left, what they mean on the right; a term that is too long has a line of its own.
    private static func pairs(_ pairs: [(String, String)], margin: Int) -> [String] {
        var lines: [String] = []
        for (term, text) in pairs {
            var wrapped = Self.wrapped(text, indent: margin)
            if term.columns + 4 <= margin, !wrapped.isEmpty {
                wrapped[0] = ("  " + term).padded(to: margin) + wrapped[0].dropFirst(margin)
            } else {
                lines.append("  " + term)
            }
            lines += wrapped
        }
        return lines
    }

    /// `text` in lines of at most 79 columns, each indented.
    static func wrapped(_ text: String, indent: Int) -> [String] {
        let margin = String(repeating: " ", count: indent)
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ").map(String.init) {
            if !line.isEmpty && indent + line.columns + 1 + word.columns > 79 {
                lines.append(margin + line)
                line = ""
            }
            line += (line.isEmpty ? "" : " ") + word
        }
        return line.isEmpty ? lines : lines + [margin + line]
    }
}

extension String {
    /// This text without spaces before it.
    fileprivate var trimmingSpaces: String { String(drop { $0 == " " }) }
}
