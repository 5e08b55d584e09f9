import Problems

/// A command line taken apart.
///
/// Asking for an option that the tool's table does not have is a defect, and stops the program.
public struct Arguments: Sendable {
    /// What is not an option, in order.
    public internal(set) var operands: [String] = []
    let tool: Tool
    var given: [Given] = []

    /// One option as it was given.
    struct Given: Sendable {
        var name: String
        var value: String?
        var on = true
        var short = false
    }

    init(tool: Tool) { self.tool = tool }

    /// Whether a flag was given; for one that `--no-NAME` takes back the last word counts, or `otherwise` if unsaid.
    public func flag(_ name: String, otherwise: Bool = false) -> Bool {
        occurrences(name).last?.on ?? otherwise
    }

    /// Whether an option was given at all.
    public func isGiven(_ name: String) -> Bool { !occurrences(name).isEmpty }

    /// The value of an option, the last one if it repeats.
    public func value(_ name: String) -> String? { occurrences(name).last?.value }

    /// All values of an option, in order.
    public func values(_ name: String) -> [String] { occurrences(name).compactMap(\.value) }

    /// The value of an option as a whole number within `range`.
    public func int(_ name: String, in range: ClosedRange<Int>) throws(Problem) -> Int? {
        guard let text = value(name) else { return nil }
        guard let number = Int(text), range.contains(number) else {
            throw wrong(name, text, "a whole number" + Self.bounds(range, least: .min, most: .max))
        }
        return number
    }

    /// The value of an option as a decimal number within `range`.
    public func number(_ name: String, in range: ClosedRange<Double>) throws(Problem) -> Double? {
        guard let text = value(name) else { return nil }
        // Swift reads `nan`, `infinity` and `0x1p3` too; nobody means those here.
        let isDecimal = text.utf8.allSatisfy { "+-.0123456789eE".utf8.contains($0) }
        guard isDecimal, let number = Double(text), range.contains(number) else {
            let bound = Double.greatestFiniteMagnitude
            throw wrong(name, text, "a number" + Self.bounds(range, least: -bound, most: bound))
        }
        return number
    }

    /// The value of an option as a number of bytes: `500MB`, `5GB` (powers of 1000), `5GiB` (of 1024) or `5000`.
    public func bytes(_ name: String, in range: ClosedRange<Int> = 1...Int.max) throws(Problem) -> Int? {
        guard let text = value(name) else { return nil }
        guard let number = parseSize(text) else {
            throw wrong(name, text, "a size", hint: "write 5000, 500MB or 5GB (powers of 1000), or 5GiB (of 1024)")
        }
        guard range.contains(number) else {
            throw wrong(name, text, "a size" + Self.bounds(range, least: .min, most: .max, unit: " B"))
        }
        return number
    }

    /// Whether help, version or a generated file is asked for, and nothing is to be done.
    var asksForInformation: Bool { flag("help") || flag("version") || value("generate") != nil }

    /// Whether help was asked for by `-h` rather than `--help`.
    var asksForShortHelp: Bool { occurrences("help").allSatisfy(\.short) }

    private func occurrences(_ name: String) -> [Given] {
        precondition(tool.option(name) != nil, "\(tool.name) has no option '\(name)'")
        return given.filter { $0.name == name }
    }

    private func wrong(_ name: String, _ text: String, _ needed: String, hint: String? = nil) -> Problem {
        Problem(.usage, "bad-value", "option '--\(name)' is '\(text)', but must be \(needed)", hint: hint)
    }

    private static func bounds<N: Comparable>(
        _ range: ClosedRange<N>, least: N, most: N, unit: String = ""
    ) -> String {
        switch (range.lowerBound > least, range.upperBound < most) {
        case (true, true): " from \(range.lowerBound) to \(range.upperBound)\(unit)"
        case (true, false): " of at least \(range.lowerBound)\(unit)"
        case (false, true): " of at most \(range.upperBound)\(unit)"
        case (false, false): ""
        }
    }
}

/// Reads a size: digits, an optional fraction, and one of B, kB, MB, GB, TB, KiB, MiB, GiB or TiB.
///
/// Nil if it is none or too large. `5Gb` and `5G` are refused: bits or bytes, 1000 or 1024?
func parseSize(_ text: String) -> Int? {
    let number = text.prefix { "0123456789.".contains($0) }
    let units = [
        "": 1, "B": 1, "kB": 1000, "KB": 1000, "MB": 1_000_000, "GB": 1_000_000_000, "TB": 1_000_000_000_000,
        "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
    ]
    let parts = number.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    guard let unit = units[String(text.dropFirst(number.count))], let whole = Int(parts[0]) else { return nil }
    let (product, overflows) = whole.multipliedReportingOverflow(by: unit)
    guard !overflows else { return nil }
    guard parts.count == 2 else { return product }
    // In whole numbers, so that 0.1GB is 100,000,000 bytes; six digits of a fraction cannot overflow.
    guard unit > 1, parts[1].count <= 6, let fraction = Int(parts[1]) else { return nil }
    let scale = (0..<parts[1].count).reduce(1) { power, _ in power * 10 }
    let (sum, overflow) = product.addingReportingOverflow(fraction * unit / scale)
    return overflow ? nil : sum
}
