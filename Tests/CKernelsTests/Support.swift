import CKernels
import Foundation
import Testing

/// Everything that forces a level lives in this suite, one test at a time: the level belongs to the process.
@Suite(.serialized) struct KernelTests {}

/// The levels that this CPU can run.
let levels = Array(0...ak_level_best())

/// Random numbers from a seed that a failure can be repeated with: set `ADAPTERKIT_SEED`.
struct Random: RandomNumberGenerator {
    private var state: UInt64

    init(_ test: String) {
        let given = ProcessInfo.processInfo.environment["ADAPTERKIT_SEED"].flatMap { UInt64($0) }
        state = given ?? UInt64.random(in: 0...UInt64.max)
        print("\(test): ADAPTERKIT_SEED=\(state)")
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Roughly normal.
    mutating func normal() -> Double {
        (0..<4).reduce(0.0) { sum, _ in sum + Double.random(in: -1...1, using: &self) } * 0.87
    }
}

/// A format as a table of its finite magnitudes.
///
/// It is built from the meaning of the bits and not by shifting them; rounding is a search in it. Every value and every midpoint is a float64, so comparisons are exact.
struct Grid {
    let dtype: ak_dtype
    let width: Int
    let values: [Double]
    let tooLarge: Int
    let infinity: Int
    let nan: Int

    init(
        _ dtype: ak_dtype, exponent: Int, mantissa: Int, bias: Int, largest: Int, tooLarge: Int, infinity: Int, nan: Int
    ) {
        self.dtype = dtype
        self.width = 1 + exponent + mantissa
        self.tooLarge = tooLarge
        self.infinity = infinity
        self.nan = nan
        // One value more than there is: what the next would be, to round towards.
        values = (0...largest + 1).map { bits in
            let stored = bits >> mantissa
            let fraction = Double(bits & ((1 << mantissa) - 1)) / Double(1 << mantissa)
            let significand = stored == 0 ? fraction : 1 + fraction
            return scalbn(significand, max(stored, 1) - bias)
        }
    }

    var signBit: Int { 1 << (width - 1) }

    var largest: Int { values.count - 2 }

    /// The bits of `x`, and whether it was finite and too large.
    func round(_ x: Double) -> (bits: Int, overflow: Bool) {
        if x.isNaN { return (nan, false) }
        let sign = x.sign == .minus ? signBit : 0
        let magnitude = x.magnitude
        if magnitude.isInfinite { return (infinity == nan ? nan : infinity | sign, false) }
        var low = 0
        var high = values.count - 1
        if magnitude >= values[high] { return (tooLarge | sign, true) }
        while high - low > 1 {
            let middle = (low + high) / 2
            if values[middle] <= magnitude { low = middle } else { high = middle }
        }
        let midpoint = (values[low] + values[high]) / 2
        let up = magnitude > midpoint || (magnitude == midpoint && low % 2 == 1)
        let nearest = up ? high : low
        return nearest > largest ? (tooLarge | sign, true) : (nearest | sign, false)
    }

    func value(_ bits: Int) -> Double {
        let magnitude = bits & (signBit - 1)
        let value =
            magnitude <= largest ? values[magnitude] : magnitude == infinity && infinity != nan ? .infinity : .nan
        return bits & signBit == 0 ? value : -value
    }

    static let f16 = Grid(
        AK_F16, exponent: 5, mantissa: 10, bias: 15, largest: 0x7bff, tooLarge: 0x7c00, infinity: 0x7c00, nan: 0x7e00)
    static let bf16 = Grid(
        AK_BF16, exponent: 8, mantissa: 7, bias: 127, largest: 0x7f7f, tooLarge: 0x7f80, infinity: 0x7f80, nan: 0x7fc0)
    static let e4m3 = Grid(
        AK_F8_E4M3, exponent: 4, mantissa: 3, bias: 7, largest: 0x7e, tooLarge: 0x7e, infinity: 0x7f, nan: 0x7f)
    static let e5m2 = Grid(
        AK_F8_E5M2, exponent: 5, mantissa: 2, bias: 15, largest: 0x7b, tooLarge: 0x7b, infinity: 0x7c, nan: 0x7e)
    static let all = [f16, bf16, e4m3, e5m2]
}

/// Elements of `dtype` from bits.
func bytes(_ grid: Grid, _ bits: [Int]) -> [UInt8] {
    grid.width == 8 ? bits.map { UInt8($0) } : bits.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }
}

/// Bits from elements of `dtype`.
func bits(_ grid: Grid, _ bytes: [UInt8]) -> [Int] {
    grid.width == 8
        ? bytes.map { Int($0) } : (0..<bytes.count / 2).map { Int(bytes[2 * $0]) | Int(bytes[2 * $0 + 1]) << 8 }
}

/// The statistics to the bit.
func image(_ s: ak_stats) -> [UInt64] {
    let sums = [s.delta2, s.weight2, s.error2].map(\.bitPattern)
    return sums + [s.elements, s.nonzero, s.swallowed, s.overflow, s.nonfinite]
}

/// The defining sums of the product of `left` (rows x r) and `right` (r x cols).
func product(_ left: [Double], _ right: [Double], _ rows: Int, _ r: Int, _ cols: Int) -> [Double] {
    var sums = [Double](repeating: 0, count: rows * cols)
    for i in 0..<rows {
        for k in 0..<r {
            let factor = left[i * r + k]
            for j in 0..<cols { sums[i * cols + j] = fma(factor, right[k * cols + j], sums[i * cols + j]) }
        }
    }
    return sums
}

/// The first place where two lists differ.
func difference<T: Equatable>(_ a: [T], _ b: [T]) -> String? {
    guard a.count == b.count else { return "\(a.count) and \(b.count) elements" }
    return zip(a, b).enumerated().first { $1.0 != $1.1 }.map { "element \($0): \($1.0), should be \($1.1)" }
}

extension Grid: CustomTestStringConvertible {
    var testDescription: String { ["F64", "F32", "F16", "BF16", "E4M3", "E5M2"][Int(dtype.rawValue)] }
}
