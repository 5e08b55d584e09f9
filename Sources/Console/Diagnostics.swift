import Problems

/// Problems as lines of text.
enum Diagnostics {
    /// The lines for `problems`: up to `cap` of each severity, then how many more there are.
    ///
    /// A hint that several problems share is given once, after the last of them.
    static func lines(
        _ problems: [Problem], tool: String, cap: Int, quiet: Bool, json: Bool, colours: Bool
    ) -> [String] {
        var counts: [Problem.Severity: Int] = [:]
        var shown: [Problem] = []
        for problem in problems where !quiet || problem.severity == .error {
            counts[problem.severity, default: 0] += 1
            if counts[problem.severity, default: 0] <= cap { shown.append(problem) }
        }
        var lines: [String] = []
        var last: [String: Int] = [:]
        for (index, problem) in shown.enumerated() { problem.hint.map { last[$0] = index } }
        for (index, problem) in shown.enumerated() {
            lines.append(line(problem, tool: tool, colours: colours))
            if let hint = problem.hint, !quiet, last[hint] == index {
                lines.append(paint("hint:", "32", colours) + " " + escaped(hint))
            }
        }
        for severity in [Problem.Severity.error, .warning, .note] {
            let more = counts[severity, default: 0] - cap
            guard more > 0 else { continue }
            let noun = severity.rawValue + (more == 1 ? "" : "s")
            lines.append(
                head(severity, tool: tool, colours: colours) + "and \(Humane.count(more)) more \(noun)"
                    + (json ? "" : "; --json lists all"))
        }
        return lines
    }

    /// `TOOL: error: FILE: tensor 'NAME': message (byte N)`.
    private static func line(_ problem: Problem, tool: String, colours: Bool) -> String {
        var line = head(problem.severity, tool: tool, colours: colours)
        if let file = problem.file { line += escaped(file) + ": " }
        if let tensor = problem.tensor { line += "tensor '" + escaped(tensor) + "': " }
        line += escaped(problem.message)
        if let offset = problem.offset { line += " (byte \(offset))" }
        return line
    }

    private static func head(_ severity: Problem.Severity, tool: String, colours: Bool) -> String {
        let colour =
            switch severity {
            case .error: "1;31"
            case .warning: "1;33"
            case .note: "36"
            }
        return "\(tool): " + paint(severity.rawValue + ":", colour, colours) + " "
    }

    private static func paint(_ text: String, _ colour: String, _ colours: Bool) -> String {
        colours ? "\u{1B}[\(colour)m\(text)\u{1B}[0m" : text
    }
}
