/// What all SVG pictures share: the frame, text as XML reads it, and how wide it will be.
enum SVG {
    /// The first lines of a picture: its size, title and white background.
    static func opening(title: String, width: Int, height: Int) -> [String] {
        [
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"\(width)\" height=\"\(height)\" "
                + "viewBox=\"0 0 \(width) \(height)\" font-family=\"sans-serif\" font-size=\"11\" "
                + "fill=\"#222222\">",
            "<title>\(text(title))</title>",
            "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>",
        ]
    }

    /// Text as XML reads it, with what it must not hold escaped.
    static func text(_ text: String) -> String {
        escaped(text).replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
            .replacing("\"", with: "&quot;")
    }

    /// A line of text; `style` is further attributes.
    static func label(_ words: String, x: Double, y: Double, style: String = "") -> String {
        "<text x=\"\(number(x))\" y=\"\(number(y))\"\(style.isEmpty ? "" : " " + style)>\(text(words))</text>"
    }

    /// Lines of text under each other, the first at `y`.
    static func lines(_ lines: [String], x: Double, y: Double, pitch: Double, style: String = "") -> [String] {
        lines.enumerated().map { label($1, x: x, y: y + Double($0) * pitch, style: style) }
    }

    /// A straight line; `style` is further attributes.
    static func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, style: String) -> String {
        "<line x1=\"\(number(x1))\" y1=\"\(number(y1))\" x2=\"\(number(x2))\" y2=\"\(number(y2))\" \(style)/>"
    }

    /// A coordinate with at most one decimal.
    static func number(_ coordinate: Double) -> String {
        let tenths = Int((coordinate * 10).rounded())
        let (whole, rest) = tenths.magnitude.quotientAndRemainder(dividingBy: 10)
        return (tenths < 0 ? "-" : "") + "\(whole)" + (rest == 0 ? "" : ".\(rest)")
    }

    /// About how many pixels a line of text takes, rather too many than too few.
    static func pixels(_ words: String, size: Double = 11, isBold: Bool = false) -> Double {
        escaped(words).unicodeScalars.reduce(0) { $0 + width($1) } * size * (isBold ? 1.13 : 1)
    }

    /// The text with so much taken from its middle that it fits.
    static func fitting(_ words: String, pixels limit: Double, size: Double = 11, isBold: Bool = false) -> String {
        // First made safe: an escape is longer than what it stands for.
        let words = escaped(words)
        var columns = words.columns
        var fit = words
        while pixels(fit, size: size, isBold: isBold) > limit, columns > 1 {
            columns -= 1
            fit = words.shortened(to: columns)
        }
        return fit
    }

    /// The text in lines that fit, broken at spaces.
    static func wrapped(_ words: String, pixels limit: Double, size: Double = 11, isBold: Bool = false) -> [String] {
        var lines: [String] = []
        for word in escaped(words).split(separator: " ") {
            let longer = (lines.last.map { $0 + " " } ?? "") + word
            if !lines.isEmpty, pixels(longer, size: size, isBold: isBold) <= limit {
                lines[lines.count - 1] = longer
            } else {
                lines.append(fitting(String(word), pixels: limit, size: size, isBold: isBold))
            }
        }
        return lines
    }

    /// The width of a character in ems, in the widest of the usual sans-serif fonts.
    private static func width(_ scalar: Unicode.Scalar) -> Double {
        switch scalar {
        case "i", "j", "l", "I", ".", ",", ":", ";", "'", "|", " ", "f", "t", "r", "(", ")", "[", "]", "/", "-", "!":
            0.41
        case "m", "w", "M", "W", "%", "@", "…", "—": 1
        case "A"..."Z", "+", "=", "<", ">", "~", "#", "&", "_": 0.84
        default: 0.65 * Double(scalar.columns)
        }
    }
}
