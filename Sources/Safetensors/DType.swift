/// An element type of a tensor, named as the format names it.
///
/// The order of the cases is the one in which the reference writer sorts (it writes the last ones first).
public enum DType: String, CaseIterable, Sendable, Comparable {
    /// One byte for each truth value.
    case bool = "BOOL"
    /// Four bits, packed in pairs; opaque here.
    case f4 = "F4"
    /// Six bits; opaque here.
    case f6E2M3 = "F6_E2M3"
    /// Six bits; opaque here.
    case f6E3M2 = "F6_E3M2"
    /// Unsigned byte.
    case u8 = "U8"
    /// Signed byte.
    case i8 = "I8"
    /// Eight bits: 5 of exponent, 2 of mantissa.
    case f8E5M2 = "F8_E5M2"
    /// Eight bits: 4 of exponent, 3 of mantissa, no infinities.
    case f8E4M3 = "F8_E4M3"
    /// A power of two.
    case f8E8M0 = "F8_E8M0"
    /// As F8_E4M3, without negative zero.
    case f8E4M3FNUZ = "F8_E4M3FNUZ"
    /// As F8_E5M2, without infinities and negative zero.
    case f8E5M2FNUZ = "F8_E5M2FNUZ"
    /// Signed, two bytes.
    case i16 = "I16"
    /// Unsigned, two bytes.
    case u16 = "U16"
    /// IEEE half precision.
    case f16 = "F16"
    /// The upper half of a float32.
    case bf16 = "BF16"
    /// Signed, four bytes.
    case i32 = "I32"
    /// Unsigned, four bytes.
    case u32 = "U32"
    /// IEEE single precision.
    case f32 = "F32"
    /// Two float32.
    case c64 = "C64"
    /// IEEE double precision.
    case f64 = "F64"
    /// Signed, eight bytes.
    case i64 = "I64"
    /// Unsigned, eight bytes.
    case u64 = "U64"

    /// Words that name a type to compute with, as a user may write them.
    public static let words = ["float64", "float32", "float16", "bfloat16", "f64", "f32", "f16", "bf16"]

    /// The type that one of these words names.
    public init?(word: String) {
        switch word {
        case "float64", "f64": self = .f64
        case "float32", "f32": self = .f32
        case "float16", "f16": self = .f16
        case "bfloat16", "bf16": self = .bf16
        default: return nil
        }
    }

    /// Bits of one element.
    public var bits: Int {
        switch self {
        case .f4: 4
        case .f6E2M3, .f6E3M2: 6
        case .bool, .u8, .i8, .f8E5M2, .f8E4M3, .f8E8M0, .f8E4M3FNUZ, .f8E5M2FNUZ: 8
        case .i16, .u16, .f16, .bf16: 16
        case .i32, .u32, .f32: 32
        case .c64, .f64, .i64, .u64: 64
        }
    }

    /// Whether it is a real floating-point type.
    public var isFloat: Bool {
        switch self {
        case .f4, .f6E2M3, .f6E3M2, .f8E5M2, .f8E4M3, .f8E8M0, .f8E4M3FNUZ, .f8E5M2FNUZ, .f16, .bf16, .f32, .f64: true
        default: false
        }
    }

    /// The place in the reference writer's list.
    var rank: Int { Self.ranks[self] ?? 0 }

    private static let ranks = Dictionary(uniqueKeysWithValues: allCases.enumerated().map { ($1, $0) })

    /// Orders by the reference writer's list.
    public static func < (a: DType, b: DType) -> Bool { a.rank < b.rank }

    /// Bytes of a tensor; `nil` if the number overflows or is no whole number of bytes.
    ///
    /// A dimension of 0 means no elements, wherever it stands; the product of the others must fit all the same.
    public static func byteCount(_ shape: [Int], _ dtype: DType) -> Int? {
        guard let bits = bitCount(shape, dtype), bits % 8 == 0 else { return nil }
        return bits / 8
    }

    /// Bits of a tensor; `nil` if the number overflows.
    static func bitCount(_ shape: [Int], _ dtype: DType) -> Int? {
        var bits = dtype.bits
        // Zeros are left out, so that the order of the sizes does not matter, and no partial product can overflow later.
        for size in shape where size != 0 {
            let (product, overflow) = bits.multipliedReportingOverflow(by: size)
            if overflow || size < 0 { return nil }
            bits = product
        }
        return shape.contains(0) ? 0 : bits
    }
}
