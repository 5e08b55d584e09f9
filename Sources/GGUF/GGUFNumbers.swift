/// Values of tensors as bytes, and back.
///
/// What is written is to the bit what gguf-py's `quants.quantize` writes, for all numbers that are finite.
public enum GGUFNumbers {
    /// The values of whole blocks of a readable type; exact but for F64, which is rounded once.
    public static func floats(_ bytes: [UInt8], _ type: GGMLType) -> [Float] {
        switch type {
        case .f32: unpack(bytes, 4) { Float(bitPattern: UInt32(truncatingIfNeeded: $0)) }
        case .f16: unpack(bytes, 2) { half(UInt16(truncatingIfNeeded: $0)) }
        case .bf16: unpack(bytes, 2) { Float(bitPattern: UInt32(truncatingIfNeeded: $0) << 16) }
        case .f64: doubles(bytes, type).map { Float($0) }
        case .q8v0: unpackQ8(bytes)
        default: preconditionFailure("values of \(type.name) are not read")
        }
    }

    /// The values of whole blocks of a readable type, exactly.
    public static func doubles(_ bytes: [UInt8], _ type: GGMLType) -> [Double] {
        if type == .f64 { return unpack(bytes, 8) { Double(bitPattern: $0) } }
        return floats(bytes, type).map { Double($0) }
    }

    /// Values as bytes of a readable type; for Q8_0, as many as blocks of 32 hold.
    ///
    /// F16 and BF16 are rounded to nearest, ties to even. A NaN stays one and becomes quiet.
    public static func bytes(_ values: [Float], _ type: GGMLType) -> [UInt8] {
        switch type {
        case .f32: pack(values, 4) { UInt64($0.bitPattern) }
        case .f16: pack(values, 2) { UInt64(halfBits($0)) }
        case .bf16: pack(values, 2) { UInt64(upperHalf($0)) }
        case .f64: pack(values, 8) { Double($0).bitPattern }
        case .q8v0: packQ8(values)
        default: preconditionFailure("values of \(type.name) are not written")
        }
    }

    private static func unpack<T>(_ bytes: [UInt8], _ size: Int, _ value: (UInt64) -> T) -> [T] {
        precondition(bytes.count % size == 0, "whole numbers of bytes")
        var list: [T] = []
        list.reserveCapacity(bytes.count / size)
        for at in stride(from: 0, to: bytes.count, by: size) {
            var bits: UInt64 = 0
            for byte in 0..<size { bits |= UInt64(bytes[at + byte]) << UInt64(8 * byte) }
            list.append(value(bits))
        }
        return list
    }

    private static func pack(_ values: [Float], _ size: Int, _ bits: (Float) -> UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(values.count * size)
        for value in values { append(bits(value), size, &bytes) }
        return bytes
    }

    private static func append(_ bits: UInt64, _ size: Int, _ bytes: inout [UInt8]) {
        for byte in 0..<size { bytes.append(UInt8(truncatingIfNeeded: bits >> UInt64(8 * byte))) }
    }

    /// The number that these bits of half precision mean.
    static func half(_ bits: UInt16) -> Float { Float(Float16(bitPattern: bits)) }

    /// A number as half precision.
    static func halfBits(_ value: Float) -> UInt16 {
        guard value.isNaN else { return Float16(value).bitPattern }
        let sign = UInt16(truncatingIfNeeded: value.bitPattern >> 16) & 0x8000
        return sign | 0x7E00 | UInt16(truncatingIfNeeded: value.bitPattern >> 13) & 0x1FF
    }

    /// A number as the upper half of a float32.
    static func upperHalf(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        if value.isNaN { return UInt16(truncatingIfNeeded: bits >> 16) | 0x40 }
        return UInt16(truncatingIfNeeded: (bits + 0x7FFF + (bits >> 16) & 1) >> 16)
    }

    // MARK: Q8_0

    private static let block = GGMLType.q8v0.blockElements

    /// A scale of 11 bits times a number of 8 bits: the product is exact.
    private static func unpackQ8(_ bytes: [UInt8]) -> [Float] {
        precondition(bytes.count % GGMLType.q8v0.blockBytes == 0, "whole blocks")
        var list: [Float] = []
        list.reserveCapacity(bytes.count / GGMLType.q8v0.blockBytes * block)
        for start in stride(from: 0, to: bytes.count, by: GGMLType.q8v0.blockBytes) {
            let scale = half(UInt16(bytes[start]) | UInt16(bytes[start + 1]) << 8)
            for at in 0..<block { list.append(Float(Int8(bitPattern: bytes[start + 2 + at])) * scale) }
        }
        return list
    }

    /// The scale is stored rounded, but divided by as it was: so does ggml.
    private static func packQ8(_ values: [Float]) -> [UInt8] {
        precondition(values.count % block == 0, "whole blocks")
        var bytes: [UInt8] = []
        bytes.reserveCapacity(values.count / block * GGMLType.q8v0.blockBytes)
        for start in stride(from: 0, to: values.count, by: block) {
            let part = values[start..<start + block]
            let scale = part.reduce(Float(0)) { $1.isNaN || $0.isNaN ? .nan : max($0, $1.magnitude) } / 127
            let inverse = scale == 0 ? 0 : 1 / scale
            append(UInt64(halfBits(scale)), 2, &bytes)
            for value in part {
                let whole = (value * inverse).rounded(.toNearestOrAwayFromZero)
                // Where a scale is so small that its inverse is infinite, it is stored as 0, and nothing counts.
                bytes.append(whole.isFinite ? UInt8(bitPattern: Int8(clamping: Int(whole))) : 0)
            }
        }
        return bytes
    }
}
