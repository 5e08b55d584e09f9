import Glibc

/// An axis of a plot: from where to where it goes, and its ticks at round numbers.
struct PlotAxis {
    /// A round number on the axis.
    struct Tick: Equatable {
        let value: Double
        let label: String
    }

    let least: Double
    let greatest: Double
    let isLogarithmic: Bool
    let ticks: [Tick]

    /// An axis for the values it can show: finite ones, and positive ones where it is logarithmic.
    ///
    /// It has about `count` ticks, at 1, 2 or 5 times powers of ten. With `extends` it begins and ends with a tick,
    /// else with the least and greatest value, or a tick that is almost there. Values that are all the same, to nine digits, get room around them.
    init(_ values: some Sequence<Double>, isLogarithmic: Bool = false, count: Int, extends: Bool) {
        self.isLogarithmic = isLogarithmic
        let usable = values.lazy.filter { $0.isFinite && (!isLogarithmic || $0 > 0) }
        guard let low = usable.min(), let high = usable.max() else {
            (least, greatest, ticks) = (isLogarithmic ? 1 : 0, 10, [])
            return
        }
        let (from, to) = isLogarithmic ? Self.roomForRatio(low, high) : Self.room(low, high)
        let isWide = isLogarithmic && log10(to) - log10(from) >= 1
        let all =
            isWide
            ? Self.powers(from, to, count: count, extends: extends)
            : Self.multiples(from, to, count: count, extends: extends)
        ticks = isLogarithmic ? all.filter { $0.value > 0 } : all
        least = min(from, ticks.first?.value ?? from)
        greatest = max(to, ticks.last?.value ?? to)
    }

    /// Whether the axis has a place for the value.
    func shows(_ value: Double) -> Bool { value.isFinite && (!isLogarithmic || value > 0) }

    /// Where a value lies, from 0 to 1.
    func place(_ value: Double) -> Double {
        let part =
            isLogarithmic
            ? (log(max(value, Self.tiny)) - log(least)) / (log(greatest) - log(least))
            // Halved, so that a range wider than the largest number does not overflow.
            : (value / 2 - least / 2) / (greatest / 2 - least / 2)
        return min(1, max(0, part))
    }

    /// What is smaller counts as zero: nearer to it there are no round numbers of full precision.
    private static let tiny = 1e-300

    /// The part of the axis by which a tick may lie beyond its values.
    private static let near = 0.02

    /// The range, with room where it is too narrow to tell its ends apart.
    private static func room(_ low: Double, _ high: Double) -> (Double, Double) {
        let size = max(low.magnitude, high.magnitude)
        guard size >= tiny else { return (-1, 1) }
        guard high / 2 - low / 2 < size * 5e-10 else { return (low, high) }
        let most = Double.greatestFiniteMagnitude
        return (max(-most, low - size / 2), min(most, high + size / 2))
    }

    private static func roomForRatio(_ low: Double, _ high: Double) -> (Double, Double) {
        let (low, high) = (max(low, tiny), max(high, tiny))
        guard log(high) - log(low) < 1e-9 else { return (low, high) }
        return (max(tiny / 2, low / 2), min(.greatestFiniteMagnitude, high * 2))
    }

    /// Multiples of a step of 1, 2 or 5 times a power of ten.
    private static func multiples(_ low: Double, _ high: Double, count: Int, extends: Bool) -> [Tick] {
        let raw = (high / 2 - low / 2) / Double(count) * 2
        var exponent = Int(floor(log10(raw)))
        let mantissa = raw / RoundNumber(digits: 1, exponent: exponent).value
        var factor = [1, 2, 5].first { mantissa <= Double($0) * 1.0001 } ?? 10
        if factor == 10 { (factor, exponent) = (1, exponent + 1) }
        let step = RoundNumber(digits: factor, exponent: exponent).value
        // What is a multiple but for rounding counts as one.
        let (lower, upper) = (low / step, high / step)
        let near = near * (high / step - low / step)
        let from = extends ? floor(lower + 1e-6) : ceil(lower - near)
        let to = extends ? ceil(upper - 1e-6) : floor(upper + near)
        guard from <= to else { return [] }
        let numbers = (Int(from)...Int(to)).map { RoundNumber(digits: $0 * factor, exponent: exponent) }
        let greatest = max(numbers[0].leadingExponent, numbers[numbers.count - 1].leadingExponent)
        return numbers.filter(\.value.isFinite).map {
            Tick(value: $0.value, label: $0.text(greatest: greatest))
        }
    }

    /// Powers of ten; over few of them also their double and fivefold, over many of them not every one.
    private static func powers(_ low: Double, _ high: Double, count: Int, extends: Bool) -> [Tick] {
        let decades = log10(high) - log10(low)
        let factors = decades <= 3 && count >= 7 || decades <= 2 ? [1, 2, 5] : [1]
        let stride = max(1, Int((decades / Double(count)).rounded(.up)))
        let first = Int(floor(log10(low) / Double(stride))) - 1
        let last = Int(ceil(log10(high) / Double(stride))) + 1
        let numbers = (first...last).flatMap { power in
            factors.map { RoundNumber(digits: $0, exponent: power * stride) }
        }.filter { $0.value.isFinite && $0.value >= tiny / 10 }
        let below = numbers.lastIndex { $0.value <= low * (1 + 1e-9) } ?? 0
        let above = numbers.firstIndex { $0.value >= high * (1 - 1e-9) } ?? numbers.count - 1
        let inside = numbers[min(below, above)...max(below, above)].filter {
            let place = log10($0.value)
            return extends || place >= log10(low) - near * decades && place <= log10(high) + near * decades
        }
        return inside.map { Tick(value: $0.value, label: $0.text(greatest: $0.leadingExponent)) }
    }
}

/// A number of few digits: `digits × 10^exponent`, exactly.
struct RoundNumber {
    let digits: Int
    let exponent: Int

    /// The nearest float.
    var value: Double { Double("\(digits)e\(exponent)") ?? .nan }

    /// The power of ten of the first digit.
    var leadingExponent: Int { digits == 0 ? exponent : String(digits.magnitude).count - 1 + exponent }

    /// The number as short as it can be among ticks of one step, the greatest of which begins at `10^greatest`.
    ///
    /// From 10,000 on in thousands (k), millions (M) and so on, as long as that takes no more than one decimal.
    func text(greatest: Int) -> String {
        guard digits != 0 else { return "0" }
        guard -3..<15 ~= greatest else { return scientific }
        var unit = greatest < 4 ? 0 : greatest / 3
        while unit > 0, 3 * unit - exponent > 1 { unit -= 1 }
        return positional(shiftedBy: -3 * unit) + ["", "k", "M", "G", "T"][unit]
    }

    private var sign: String { digits < 0 ? "-" : "" }

    private func positional(shiftedBy shift: Int) -> String {
        let text = String(digits.magnitude)
        let decimals = -(exponent + shift)
        guard decimals > 0 else { return sign + text + String(repeating: "0", count: -decimals) }
        let padded = String(repeating: "0", count: max(0, decimals + 1 - text.count)) + text
        return sign + padded.dropLast(decimals) + "." + padded.suffix(decimals)
    }

    private var scientific: String {
        var text = String(digits.magnitude)
        while text.count > 1, text.last == "0" { text.removeLast() }
        let fraction = text.dropFirst()
        let power = leadingExponent
        return sign + text.prefix(1) + (fraction.isEmpty ? "" : "." + fraction) + "e\(power < 0 ? "" : "+")\(power)"
    }
}

extension Humane {
    /// A number as a plot tells it: whole ones in full, others in five digits.
    static func told(_ number: Double) -> String {
        number == number.rounded() && number.magnitude < 1e9 ? "\(Int(number))" : significant(number, digits: 5)
    }

    /// A number in four digits at most, large ones in thousands (k), millions (M) and so on.
    static func brief(_ number: Double) -> String {
        if number == number.rounded(), number.magnitude < 1e4 { return "\(Int(number))" }
        let units = ["", "k", "M", "G", "T"]
        guard number.magnitude < 9.9995e14 else { return significant(number, digits: 4) }
        var (scaled, unit) = (number, 0)
        while scaled.magnitude >= (unit == 0 ? 9999.5 : 999.95), unit < units.count - 1 {
            (scaled, unit) = (scaled / 1000, unit + 1)
        }
        return significant(scaled, digits: 4) + units[unit]
    }

    /// Numbers that stand under each other, in four digits at most: with the same decimals if they are of similar size.
    static func brief(_ numbers: [Double]) -> [String] {
        let sizes = numbers.map(\.magnitude).filter { $0 > 0 }
        guard let least = sizes.min(), let greatest = sizes.max(), greatest < 999.95, least >= greatest / 100,
            greatest >= 0.01, numbers.contains(where: { $0 != $0.rounded() })
        else { return numbers.map { brief($0) } }
        let decimals = greatest < 0.1 ? 5 : greatest < 1 ? 4 : greatest < 10 ? 3 : greatest < 100 ? 2 : 1
        let power = 1 / RoundNumber(digits: 1, exponent: -decimals).value
        return numbers.map {
            RoundNumber(digits: Int(($0 * power).rounded()), exponent: -decimals).text(greatest: 0)
        }
    }
}
