extension Tool {
    /// The manual page, in the man(7) macros.
    ///
    /// It has no date: the same sources give the same page on any day.
    var manPage: String {
        var lines = [
            ".TH \(Self.roff(name.uppercased())) 1 \"\" \"AdapterKit \(adapterKitVersion)\" \"User Commands\"",
            ".SH NAME", "\(Self.roff(name)) \\- \(Self.roff(summary))", ".SH SYNOPSIS",
        ]
        lines += synopsis
        lines.append(".SH DESCRIPTION")
        lines += Array(description.map { [Self.roff($0)] }.joined(separator: [".PP"]))
        if !operands.isEmpty { lines.append(".SH OPERANDS") }
        for operand in operands { lines += [".TP", ".I \(Self.quoted(operand.name))", Self.roff(operand.help)] }
        lines.append(".SH OPTIONS")
        for group in groups {
            if group.heading != "Options" { lines.append(".SS \(Self.quoted(group.heading))") }
            for option in group.options { lines += [".TP", Self.term(option), Self.roff(Self.fullHelp(option))] }
        }
        if !examples.isEmpty { lines.append(".SH EXAMPLES") }
        for example in examples {
            lines += [".PP", Self.roff(example.what), ".PP", ".RS 4", ".nf", Self.roff(example.command), ".fi", ".RE"]
        }
        lines.append(".SH EXIT STATUS")
        for code in exitCodes { lines += [".TP", ".B \(code.code)", Self.roff(code.meaning)] }
        return lines.joined(separator: "\n") + "\n"
    }

    private var synopsis: [String] {
        var lines: [String] = []
        for line in usage {
            if !lines.isEmpty { lines.append(".br") }
            lines += [".B \(Self.roff(name))", Self.roff(String(line.dropFirst(name.count + 1)))].filter { !$0.isEmpty }
        }
        return lines
    }

    /// The heading of an option: `\fB\-o\fR, \fB\-\-output\fR \fIDIR\fR`.
    private static func term(_ option: Option) -> String {
        let short = option.short.map { "\\fB\\-\($0)\\fR, " } ?? ""
        let value = option.value.map { " \\fI\(roff($0))\\fR" } ?? ""
        return "\(short)\\fB\(roff(option.longForm))\\fR\(value)"
    }

    /// Text as roff reads it: backslashes and dashes as themselves, and no line taken for a macro.
    private static func roff(_ text: String) -> String {
        let plain = text.replacing("\\", with: "\\e").replacing("-", with: "\\-").replacing("\n", with: " ")
            .replacing("~", with: "\\(ti").replacing("^", with: "\\(ha").replacing("'", with: "\\(aq")
        return plain.hasPrefix(".") ? "\\&" + plain : plain
    }

    private static func quoted(_ text: String) -> String { "\"" + roff(text).replacing("\"", with: "\\(dq") + "\"" }
}
