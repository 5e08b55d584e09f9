import Glibc

/// Colours from pale yellow over green and blue to near black: each step darker by the same amount to the eye.
enum ColourScale {
    /// Equal steps of lightness (0.955 to 0.255 in OKLCH) while the hue turns from 105° to 295°.
    private static let stops: [(red: Double, green: Double, blue: Double)] = [
        (248, 244, 177), (189, 226, 145), (107, 209, 140), (7, 181, 153), (6, 148, 154), (3, 115, 145), (1, 83, 138),
        (37, 49, 114), (39, 23, 71),
    ]

    /// The colour at `part` of the scale, from 0 to 1.
    static func colour(_ part: Double) -> String {
        let place = min(1, max(0, part)) * Double(stops.count - 1)
        let low = min(Int(place), stops.count - 2)
        let (a, b) = (stops[low], stops[low + 1])
        let weight = place - Double(low)
        let channels = [(a.red, b.red), (a.green, b.green), (a.blue, b.blue)]
        return channels.reduce("#") { text, channel in
            let level = Int((channel.0 + (channel.1 - channel.0) * weight).rounded())
            return text + (level < 16 ? "0" : "") + String(level, radix: 16)
        }
    }
}

/// Where values lie on a scale between the least and the greatest of them.
struct ValueRange {
    let least: Double
    let greatest: Double
    let isLogarithmic: Bool

    /// The range of the finite values; on a logarithmic scale, of the positive ones.
    init?(_ values: some Sequence<Double>, logarithmic: Bool) {
        let usable = values.filter { $0.isFinite && (!logarithmic || $0 > 0) }
        guard let least = usable.min(), let greatest = usable.max() else { return nil }
        // From zero, so that noise among values of one size does not look like a pattern.
        self.least = logarithmic ? least : min(0, least)
        self.greatest = greatest
        isLogarithmic = logarithmic
    }

    /// Where `value` lies, from 0 to 1.
    func place(_ value: Double) -> Double {
        guard greatest > least else { return greatest == 0 ? 0 : 0.5 }
        guard isLogarithmic else {
            // Halved, so that a range wider than the largest number does not overflow.
            return (value / 2 - least / 2) / (greatest / 2 - least / 2)
        }
        return value > 0 ? (log(value) - log(least)) / (log(greatest) - log(least)) : 0
    }

    /// The value at a place.
    func value(_ place: Double) -> Double {
        if place == 0 { return least }
        if place == 1 { return greatest }
        guard isLogarithmic else { return least * (1 - place) + greatest * place }
        return exp(log(least) * (1 - place) + log(greatest) * place)
    }
}
