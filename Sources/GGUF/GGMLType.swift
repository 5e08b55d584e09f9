import Safetensors

/// A type of tensor elements, numbered as in ggml.
///
/// Quantized types keep elements in blocks of a fixed number of bytes; a row is a whole number of blocks.
public enum GGMLType: UInt32, CaseIterable, Sendable {
    case f32 = 0
    case f16 = 1
    case q4v0 = 2
    case q4v1 = 3
    case q5v0 = 6
    case q5v1 = 7
    /// 32 elements: a half-precision scale, and a signed byte for each.
    case q8v0 = 8
    case q8v1 = 9
    case q2K = 10
    case q3K = 11
    case q4K = 12
    case q5K = 13
    case q6K = 14
    case q8K = 15
    case iq2XXS = 16
    case iq2XS = 17
    case iq3XXS = 18
    case iq1S = 19
    case iq4NL = 20
    case iq3S = 21
    case iq2S = 22
    case iq4XS = 23
    case i8 = 24
    case i16 = 25
    case i32 = 26
    case i64 = 27
    case f64 = 28
    case iq1M = 29
    case bf16 = 30
    case tq1v0 = 34
    case tq2v0 = 35
    case mxfp4 = 39
    case nvfp4 = 40
    case q1v0 = 41

    /// Name, elements of a block, bytes of a block.
    private var facts: (name: String, elements: Int, bytes: Int) {
        switch self {
        case .f32: ("F32", 1, 4)
        case .f16: ("F16", 1, 2)
        case .bf16: ("BF16", 1, 2)
        case .f64: ("F64", 1, 8)
        case .i8: ("I8", 1, 1)
        case .i16: ("I16", 1, 2)
        case .i32: ("I32", 1, 4)
        case .i64: ("I64", 1, 8)
        case .q4v0: ("Q4_0", 32, 18)
        case .q4v1: ("Q4_1", 32, 20)
        case .q5v0: ("Q5_0", 32, 22)
        case .q5v1: ("Q5_1", 32, 24)
        case .q8v0: ("Q8_0", 32, 34)
        case .q8v1: ("Q8_1", 32, 40)
        case .q2K: ("Q2_K", 256, 84)
        case .q3K: ("Q3_K", 256, 110)
        case .q4K: ("Q4_K", 256, 144)
        case .q5K: ("Q5_K", 256, 176)
        case .q6K: ("Q6_K", 256, 210)
        case .q8K: ("Q8_K", 256, 292)
        case .iq2XXS: ("IQ2_XXS", 256, 66)
        case .iq2XS: ("IQ2_XS", 256, 74)
        case .iq3XXS: ("IQ3_XXS", 256, 98)
        case .iq1S: ("IQ1_S", 256, 50)
        case .iq4NL: ("IQ4_NL", 32, 18)
        case .iq3S: ("IQ3_S", 256, 110)
        case .iq2S: ("IQ2_S", 256, 82)
        case .iq4XS: ("IQ4_XS", 256, 136)
        case .iq1M: ("IQ1_M", 256, 56)
        case .tq1v0: ("TQ1_0", 256, 54)
        case .tq2v0: ("TQ2_0", 256, 66)
        case .mxfp4: ("MXFP4", 32, 17)
        case .nvfp4: ("NVFP4", 64, 36)
        case .q1v0: ("Q1_0", 128, 18)
        }
    }

    /// The name that ggml gives it: `Q8_0`.
    public var name: String { facts.name }
    /// Elements of a block; 1 if it is not quantized.
    public var blockElements: Int { facts.elements }
    /// Bytes of a block.
    public var blockBytes: Int { facts.bytes }
    /// Whether `GGUFNumbers` can read its values.
    public var hasReadableValues: Bool { self == .q8v0 || dtype?.isFloat == true }

    /// The same type in a safetensors file; `nil` for quantized types.
    public var dtype: DType? {
        switch self {
        case .f32: .f32
        case .f16: .f16
        case .bf16: .bf16
        case .f64: .f64
        case .i8: .i8
        case .i16: .i16
        case .i32: .i32
        case .i64: .i64
        default: nil
        }
    }

    /// Bytes of a tensor of these sizes, the row's first; `nil` if a row is no whole number of blocks, a size is not
    /// positive, or the number overflows.
    ///
    /// The number of elements must fit, too, as ggml demands.
    public func byteCount(ne: [Int]) -> Int? {
        guard let row = ne.first, row % blockElements == 0, ne.allSatisfy({ $0 > 0 }) else { return nil }
        var elements = 1
        for size in ne {
            let (product, overflow) = elements.multipliedReportingOverflow(by: size)
            if overflow { return nil }
            elements = product
        }
        let (bytes, overflow) = (elements / blockElements).multipliedReportingOverflow(by: blockBytes)
        return overflow ? nil : bytes
    }
}
