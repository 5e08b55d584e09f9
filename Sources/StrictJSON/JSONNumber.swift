/// A number as its source writes it.
public struct JSONNumber: Sendable, Equatable {
    /// The source text, such as `1e-05`; or Python's `NaN`, `Infinity`, `-Infinity`.
    public let text: String

    /// Keeps `text`, which must be a JSON number.
    public init(text: String) { self.text = text }

    /// Writes a whole number.
    public init(_ value: Int) { text = String(value) }

    /// The value, if it is written as a whole number that fits: `2.0` and `1e2` are none.
    public var int: Int? {
        text.utf8.allSatisfy { $0 == UInt8(ascii: "-") || (0x30...0x39).contains($0) } ? Int(text) : nil
    }

    /// The nearest double.
    public var double: Double {
        switch text {
        case "NaN": .nan
        case "Infinity": .infinity
        case "-Infinity": -.infinity
        default: Double(text) ?? .nan
        }
    }
}
