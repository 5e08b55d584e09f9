/// A binary floating-point format, by the meaning of its fields; nothing is shared with the kernels.
public struct Format: Sendable {
    let exponentBits: Int
    let mantissaBits: Int
    /// E4M3 has no infinities: its largest exponent is an ordinary one but for a single NaN.
    let hasInfinities: Bool

    init(exponent: Int, mantissa: Int, infinities: Bool = true) {
        exponentBits = exponent
        mantissaBits = mantissa
        hasInfinities = infinities
    }

    /// The format that a safetensors file calls by that name.
    public static func named(_ dtype: String) -> Format {
        switch dtype {
        case "F64": Format(exponent: 11, mantissa: 52)
        case "F32": Format(exponent: 8, mantissa: 23)
        case "F16": Format(exponent: 5, mantissa: 10)
        case "BF16": Format(exponent: 8, mantissa: 7)
        case "F8_E5M2": Format(exponent: 5, mantissa: 2)
        case "F8_E4M3": Format(exponent: 4, mantissa: 3, infinities: false)
        default: preconditionFailure("\(dtype) is no floating-point format")
        }
    }

    /// Bytes of a number.
    public var size: Int { (1 + exponentBits + mantissaBits) / 8 }
    private var bias: Int { (1 << (exponentBits - 1)) - 1 }
    private var allOnes: Int { (1 << exponentBits) - 1 }

    /// The bits of `value` rounded once, to nearest, ties to even.
    ///
    /// The unit in the last place is a power of two, so dividing by it is exact, and the quotient is rounded to a whole
    /// number.
    public func bits(of value: Double) -> UInt64 {
        let sign = value.sign == .minus ? UInt64(1) << (exponentBits + mantissaBits) : 0
        let infinity = UInt64(allOnes) << mantissaBits
        if value.isNaN {
            return hasInfinities ? infinity | 1 << (mantissaBits - 1) : infinity | (1 << mantissaBits) - 1
        }
        let largest = hasInfinities ? infinity - 1 : infinity | (1 << mantissaBits) - 2
        let tooLarge = size == 1 ? largest : infinity
        if value == 0 { return sign }
        if value.isInfinite { return sign | (hasInfinities ? infinity : infinity | (1 << mantissaBits) - 1) }
        let smallest = 1 - bias
        var exponent = max(Int(value.exponent), smallest)
        let unit = exponent - mantissaBits
        var whole = Self.scaled(value.magnitude, by: -unit).rounded(.toNearestOrEven)
        if whole == Double(1 << (mantissaBits + 1)) {
            whole /= 2
            exponent += 1
        }
        let isNormal = whole >= Double(1 << mantissaBits)
        let field = isNormal ? UInt64(exponent + bias) : 0
        let fraction = UInt64(whole) & ((1 << mantissaBits) - 1)
        let bits = field << mantissaBits | fraction
        return sign | (bits > largest ? tooLarge : bits)
    }

    /// value · 2^power in two steps, since 2^power alone may be too large for a float64.
    private static func scaled(_ value: Double, by power: Int) -> Double {
        let half = power / 2
        return value * Double(sign: .plus, exponent: half, significand: 1)
            * Double(sign: .plus, exponent: power - half, significand: 1)
    }

    /// The number that `bits` mean.
    public func value(of bits: UInt64) -> Double {
        let field = Int(bits >> mantissaBits) & allOnes
        let fraction = Int(bits & ((1 << mantissaBits) - 1))
        let sign: FloatingPointSign = bits >> (exponentBits + mantissaBits) & 1 == 1 ? .minus : .plus
        let magnitude: Double
        if field == allOnes, hasInfinities {
            magnitude = fraction == 0 ? .infinity : .nan
        } else if field == allOnes, !hasInfinities, fraction == (1 << mantissaBits) - 1 {
            magnitude = .nan
        } else {
            let significand = field == 0 ? fraction : fraction | 1 << mantissaBits
            magnitude = Self.scaled(Double(significand), by: max(field, 1) - bias - mantissaBits)
        }
        return sign == .minus ? -magnitude : magnitude
    }

    /// The little-endian bytes of `values`, each rounded once.
    public func encode(_ values: [Double]) -> [UInt8] {
        values.flatMap { value in
            let bits = bits(of: value)
            return (0..<size).map { UInt8(truncatingIfNeeded: bits >> ($0 * 8)) }
        }
    }

    /// The numbers in `bytes`.
    public func decode(_ bytes: [UInt8]) -> [Double] {
        stride(from: 0, to: bytes.count, by: size).map { start in
            value(of: (0..<size).reduce(0) { $0 | UInt64(bytes[start + $1]) << ($1 * 8) })
        }
    }
}
