extension Tool {
    /// A completion script for zsh.
    var zshCompletion: String {
        var specs: [String] = []
        for option in options where !option.hidden { specs += Self.zshSpecs(option) }
        for (index, operand) in operands.enumerated() {
            let place = operand.name.contains("...") ? "*" : operand.name.hasPrefix("[") ? ":" : "\(index + 1)"
            specs.append(Self.zshQuoted("\(place):\(Self.zshText(operand.name)):_files"))
        }
        return """
            #compdef \(name)
            # zsh completion for \(name)
            _arguments -s -S \\
              \(specs.joined(separator: " \\\n  "))

            """
    }

    /// What `_arguments` wants: `'(-o --output)'{-o+,--output=}'[where to write]:DIR:_files -/'`.
    private static func zshSpecs(_ option: Option) -> [String] {
        let long = "--" + option.name + (option.value == nil ? "" : "=")
        let help = "[" + zshText(option.brief) + "]"
        let value = option.value.map { ":" + zshText($0) + ":" + zshAction(option.completion) } ?? ""
        let denied = "(--\(option.name))--no-\(option.name)[Not: \(help.dropFirst())"
        let negation = option.negatable ? [zshQuoted(denied)] : []
        let star = option.repeats ? "*" : ""
        guard let short = option.short else { return [zshQuoted(star + long + help + value)] + negation }
        let forms = "{-\(short)\(option.value == nil ? "" : "+"),\(long)}"
        let prefix = option.repeats ? "'*'" : "'(-\(short) --\(option.name))'"
        return [prefix + forms + zshQuoted(help + value)] + negation
    }

    private static func zshAction(_ completion: Option.Completion) -> String {
        switch completion {
        case .words(let words): "(\(words.joined(separator: " ")))"
        case .directories: "_files -/"
        case .files: "_files"
        case .nothing: " "
        }
    }

    private static func zshText(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing("[", with: "\\[").replacing("]", with: "\\]")
            .replacing(":", with: "\\:")
    }

    private static func zshQuoted(_ text: String) -> String { "'" + text.replacing("'", with: "'\\''") + "'" }

    /// A completion script for fish.
    var fishCompletion: String {
        var lines = ["# fish completion for \(name)"]
        if operands.isEmpty { lines.append("complete -c \(name) -f") }
        for option in options where !option.hidden {
            var line = "complete -c \(name)" + (option.short.map { " -s \($0)" } ?? "") + " -l \(option.name)"
            if option.value != nil { line += Self.fishAction(option.completion) }
            lines.append(line + " -d " + Self.fishQuoted(option.brief))
            if option.negatable {
                lines.append("complete -c \(name) -l no-\(option.name) -d \(Self.fishQuoted("Not: " + option.brief))")
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func fishAction(_ completion: Option.Completion) -> String {
        switch completion {
        case .words(let words): " -x -a '\(words.joined(separator: " "))'"
        case .directories: " -x -a '(__fish_complete_directories)'"
        case .files: " -r -F"
        case .nothing: " -x"
        }
    }

    private static func fishQuoted(_ text: String) -> String {
        "'" + text.replacing("\\", with: "\\\\").replacing("'", with: "\\'") + "'"
    }
}
