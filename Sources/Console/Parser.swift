import Problems

extension Tool {
    /// Takes a command line apart, without looking at anything else.
    ///
    /// - Parameter arguments: what follows the command's name.
    /// - Throws: a problem of kind `usage` for a line that makes no sense.
    public func parse(_ arguments: [String]) throws(Problem) -> Arguments {
        var parser = Parser(tool: self, rest: arguments[...])
        while let argument = parser.rest.popFirst() { try parser.take(argument) }
        if !parser.result.asksForInformation { try parser.checkOperands() }
        return parser.result
    }
}

/// The state of taking a command line apart.
private struct Parser {
    let tool: Tool
    var rest: ArraySlice<String>
    var result: Arguments
    var operandsOnly = false

    init(tool: Tool, rest: ArraySlice<String>) {
        self.tool = tool
        self.rest = rest
        result = Arguments(tool: tool)
    }

    mutating func take(_ argument: String) throws(Problem) {
        if operandsOnly || !argument.hasPrefix("-") || argument == "-" {
            try takeOperand(argument)
        } else if argument == "--" {
            operandsOnly = true
        } else if argument.hasPrefix("--") {
            try takeLong(argument)
        } else {
            try takeShort(argument)
        }
    }

    private mutating func takeOperand(_ argument: String) throws(Problem) {
        guard !argument.isEmpty else {
            throw usage(
                "empty-operand", "operand \(result.operands.count + 1) is an empty text, but a name was needed",
                "is a variable of your shell not set?")
        }
        result.operands.append(argument)
    }

    private mutating func takeLong(_ argument: String) throws(Problem) {
        let parts = argument.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0])
        let value = parts.count == 2 ? String(parts[1]) : nil
        if let option = tool.option(name) {
            try record(option, "--" + name, value)
        } else if let option = negated(name) {
            guard value == nil else { throw takesNoValue("--" + name) }
            result.given.append(.init(name: option.name, on: false))
        } else {
            throw unknown("--" + name)
        }
    }

    /// The flag that `--NAME` takes back.
    private func negated(_ name: String) -> Option? {
        guard name.hasPrefix("no-"), let option = tool.option(String(name.dropFirst(3))) else { return nil }
        return option.negatable ? option : nil
    }

    /// `-o value`, `-ovalue`, `-o=value`, or flags in a cluster: `-qo value`.
    private mutating func takeShort(_ argument: String) throws(Problem) {
        // `-output` would otherwise be `-o` with the value `utput`, which nobody means.
        let word = argument.dropFirst().prefix { $0 != "=" }
        if word.count > 1, tool.option(String(word)) != nil { throw unknown("-" + word) }
        var letters = argument.dropFirst()
        while let letter = letters.popFirst() {
            guard let option = tool.options.first(where: { $0.short == letter }) else { throw unknown("-\(letter)") }
            if option.value != nil {
                let attached = letters.first == "=" ? letters.dropFirst() : letters
                return try record(option, "-\(letter)", letters.isEmpty ? nil : String(attached))
            }
            guard letters.first != "=" else { throw takesNoValue("-\(letter)") }
            try record(option, "-\(letter)", nil)
        }
    }

    private mutating func record(_ option: Option, _ spelled: String, _ attached: String?) throws(Problem) {
        guard let placeholder = option.value else {
            guard attached == nil else { throw takesNoValue(spelled) }
            result.given.append(.init(name: option.name, short: !spelled.hasPrefix("--")))
            return
        }
        let value: String
        if let attached { value = attached } else { value = try nextValue(spelled, placeholder) }
        guard !value.isEmpty else {
            throw usage(
                "missing-value", "option '\(spelled)' needs a value (\(placeholder)), but an empty text was given",
                "is a variable of your shell not set?")
        }
        if let choices = option.choices, !choices.contains(value) {
            throw usage(
                "bad-value",
                "option '\(spelled)' is '\(value)', but must be one of: " + choices.joined(separator: ", "),
                Suggestions.question(for: value, among: choices))
        }
        if !option.repeats, let earlier = result.value(option.name) {
            throw usage(
                "repeated-option", "option '\(spelled)' is given twice: '\(earlier)' and '\(value)'", "give it once")
        }
        result.given.append(.init(name: option.name, value: value))
    }

    /// The next argument as a value: anything but an option of this tool, since that means the value was forgotten.
    private mutating func nextValue(_ spelled: String, _ placeholder: String) throws(Problem) -> String {
        guard let next = rest.popFirst() else {
            throw usage("missing-value", "option '\(spelled)' needs a value (\(placeholder))", nil)
        }
        let name = String(next.dropFirst(2).prefix { $0 != "=" })
        let short = next.count == 2 && next.hasPrefix("-") ? next.last : nil
        let isOption =
            next.hasPrefix("--") && (name.isEmpty || tool.option(name) != nil || negated(name) != nil)
            || short.map { letter in tool.options.contains { $0.short == letter } } == true
        guard isOption else { return next }
        let joined = spelled.hasPrefix("--") ? "\(spelled)=\(next)" : "\(spelled)\(next)"
        throw usage(
            "missing-value", "option '\(spelled)' needs a value (\(placeholder)), but '\(next)' follows",
            "if that is the value, write '\(joined)'")
    }

    func checkOperands() throws(Problem) {
        let counts = tool.operandCounts
        if result.operands.count < counts.lowerBound {
            let needed = tool.operands.filter { !$0.name.hasPrefix("[") }[result.operands.count]
            // `ADAPTER[:WEIGHT]...` is missing an ADAPTER.
            let name = needed.name.prefix { $0 != "[" && $0 != "." }
            throw usage("missing-operand", "\(name) is missing", "usage: " + (tool.usage.first ?? tool.name))
        }
        if result.operands.count > counts.upperBound {
            let extra = result.operands[counts.upperBound]
            throw usage("extra-operand", "'\(extra)' is one operand too many", nil)
        }
    }

    private func unknown(_ spelled: String) -> Problem {
        let shown = tool.options.filter { !$0.hidden }
        let names = shown.flatMap { $0.negatable ? ["--" + $0.name, "--no-" + $0.name] : ["--" + $0.name] }
        let word = spelled.hasPrefix("--") ? spelled : "-" + spelled
        let question = spelled.count > 2 ? Suggestions.question(for: word, among: names) : nil
        return usage("unknown-option", "there is no option '\(spelled)'", question)
    }

    private func takesNoValue(_ spelled: String) -> Problem {
        usage("unexpected-value", "option '\(spelled)' takes no value", "write '\(spelled)' alone")
    }

    private func usage(_ code: String, _ message: String, _ hint: String?) -> Problem {
        Problem(.usage, code, message, hint: hint ?? "'\(tool.name) --help' lists the options")
    }
}
