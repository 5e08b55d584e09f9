/// Numbers as people read them.
public enum Humane {
    /// A number of bytes in decimal units: `12 B`, `2.20 GB`.
    public static func bytes(_ count: Int, digits: Int = 3) -> String {
        guard count.magnitude >= 1000 else { return "\(count) B" }
        let number = Decimal(count.magnitude).rounded(to: digits)
        let step = number.exponent / 3
        let value = Decimal(digits: number.digits, exponent: number.exponent - 3 * step)
        return (count < 0 ? "-" : "") + value.positional(digits: digits) + " " + units[step]
    }

    /// How much of `total` is done, in the unit of the total: `1.02/2.20 GB`.
    static func bytes(_ done: Int, of total: Int) -> String {
        let whole = bytes(total)
        let parts = whole.split(separator: " ")
        let step = units.firstIndex(of: String(parts[1])) ?? 0
        let decimals = parts[0].split(separator: ".").dropFirst().first?.count ?? 0
        // Cut, not rounded: what reads as done is done.
        let unit = (0..<(3 * step - decimals)).reduce(1) { power, _ in power * 10 }
        let text = String(max(0, done) / unit)
        let padded = String(repeating: "0", count: max(0, decimals + 1 - text.count)) + text
        return padded.dropLast(decimals) + (decimals > 0 ? "." : "") + padded.suffix(decimals) + "/" + whole
    }

    /// A whole number in groups of three: `1,100,048,384`.
    public static func count(_ number: Int) -> String {
        var groups: [Substring] = []
        var rest = String(number.magnitude)[...]
        while rest.count > 3 {
            groups.append(rest.suffix(3))
            rest = rest.dropLast(3)
        }
        return (number < 0 ? "-" : "") + ([rest] + groups.reversed()).joined(separator: ",")
    }

    /// A number of things: `1 tensor`, `1,024 tensors`.
    public static func count(_ number: Int, _ thing: String) -> String {
        "\(count(number)) \(thing)\(number == 1 ? "" : "s")"
    }

    /// A fraction of one as a percentage of three digits: `12.3%`; what is not all is never `100%`.
    public static func percent(_ fraction: Double) -> String {
        // Enough digits to tell nearly all from all.
        for digits in 3...9 {
            let text = significant(fraction * 100, digits: digits)
            if fraction >= 1 || fraction < 0.99 || Double(text) ?? 0 < 100 { return text + "%" }
        }
        return "99.99999%"
    }

    /// A span of time: `250 ms`, `12.3 s`, `2 min 5 s`, `1 h 2 min`.
    public static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0, seconds < 1e12 else { return "?" }
        if seconds < 0.9995 { return significant(seconds * 1000, digits: 3) + " ms" }
        if seconds < 59.95 { return significant(seconds, digits: 3) + " s" }
        let whole = Int(seconds.rounded())
        return whole < 3600 ? "\(whole / 60) min \(whole % 60) s" : "\(whole / 3600) h \(whole % 3600 / 60) min"
    }

    /// A number rounded to so many significant digits, without hiding any of its whole part: `0.00123`, `1.50`, `48231`.
    ///
    /// Very small and very large ones have an exponent: `1.23e-7`.
    public static func significant(_ number: Double, digits: Int) -> String {
        guard number.isFinite else { return number.isNaN ? "nan" : number < 0 ? "-inf" : "inf" }
        guard number != 0 else { return "0" }
        let sign = number < 0 ? "-" : ""
        let exact = Decimal(number.magnitude)
        let rounded = exact.rounded(to: digits)
        switch rounded.exponent {
        case ..<(-4), 7...:
            let mantissa = Decimal(digits: rounded.digits, exponent: 0).positional(digits: digits)
            return "\(sign)\(mantissa)e\(rounded.exponent < 0 ? "" : "+")\(rounded.exponent)"
        case digits...: return sign + exact.rounded(to: exact.exponent + 1).positional(digits: digits)
        default: return sign + rounded.positional(digits: digits)
        }
    }

    /// A span of time as a clock shows it: `0:03`, `1:02:03`.
    static func clock(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds < 360_000 else { return "?" }
        let whole = Int(seconds.rounded(.up))
        let two = { (number: Int) in number < 10 ? "0\(number)" : "\(number)" }
        let tail = two(whole % 60)
        return whole < 3600 ? "\(whole / 60):\(tail)" : "\(whole / 3600):\(two(whole % 3600 / 60)):\(tail)"
    }

    private static let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"]
}

/// A positive number as decimal digits: `d.ddd × 10^exponent`.
private struct Decimal {
    var digits: [UInt8]
    var exponent: Int

    init(digits: [UInt8], exponent: Int) {
        self.digits = digits
        self.exponent = exponent
    }

    init(_ number: UInt) {
        digits = String(number).utf8.map { $0 - 48 }
        exponent = digits.count - 1
    }

    /// The shortest digits that mean `number`, which is positive and finite.
    init(_ number: Double) {
        let parts = "\(number)".split(separator: "e")
        let mantissa = parts[0].split(separator: ".")
        digits = mantissa.joined().utf8.map { $0 - 48 }
        exponent = mantissa[0].count - 1 + (parts.count > 1 ? Int(parts[1]) ?? 0 : 0)
        let zeros = digits.prefix { $0 == 0 }.count
        digits.removeFirst(zeros)
        exponent -= zeros
    }

    /// This number with `count` digits, halves rounded up.
    func rounded(to count: Int) -> Decimal {
        guard count < digits.count else { return self }
        var kept = Array(digits.prefix(count))
        guard digits[count] >= 5 else { return Decimal(digits: kept, exponent: exponent) }
        while kept.last == 9 { kept.removeLast() }
        guard let last = kept.popLast() else { return Decimal(digits: [1], exponent: exponent + 1) }
        return Decimal(digits: kept + [last + 1], exponent: exponent)
    }

    /// Written out, with zeros up to `count` digits.
    func positional(digits count: Int) -> String {
        let text = digits.map { String($0) }.joined()
        let filled = text + String(repeating: "0", count: max(0, max(count, exponent + 1) - digits.count))
        guard exponent >= 0 else { return "0." + String(repeating: "0", count: -exponent - 1) + filled }
        let fraction = filled.dropFirst(exponent + 1)
        return filled.prefix(exponent + 1) + (fraction.isEmpty ? "" : "." + fraction)
    }
}
