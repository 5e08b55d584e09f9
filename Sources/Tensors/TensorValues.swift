import CKernels
import Files
import Problems
import Safetensors

extension DType {
    /// The kernels' name of a floating-point type that they can compute with; `nil` for all others.
    public var kernel: ak_dtype? {
        switch self {
        case .f64: AK_F64
        case .f32: AK_F32
        case .f16: AK_F16
        case .bf16: AK_BF16
        case .f8E4M3: AK_F8_E4M3
        case .f8E5M2: AK_F8_E5M2
        default: nil
        }
    }
}

/// Values of tensors in files, piece by piece in bounded memory.
public enum TensorValues {
    /// Elements that are read at a time.
    private static let piece = 1 << 18

    /// The elements of `bytes` as float64, exactly.
    public static func doubles(_ bytes: [UInt8], _ dtype: DType) throws(Problem) -> [Double] {
        guard let kernel = dtype.kernel else { throw unsupported(dtype) }
        let count = bytes.count / (dtype.bits / 8)
        return unsafe [Double](unsafeUninitializedCapacity: count) { buffer, filled in
            unsafe bytes.withUnsafeBytes { source in
                unsafe ak_widen_f64(kernel, source.baseAddress, buffer.baseAddress, count)
            }
            filled = count
        }
    }

    /// The elements of `bytes` as float32; only float64 is rounded.
    public static func floats(_ bytes: [UInt8], _ dtype: DType) throws(Problem) -> [Float] {
        guard let kernel = dtype.kernel else { throw unsupported(dtype) }
        let count = bytes.count / (dtype.bits / 8)
        return unsafe [Float](unsafeUninitializedCapacity: count) { buffer, filled in
            unsafe bytes.withUnsafeBytes { source in
                unsafe ak_widen_f32(kernel, source.baseAddress, buffer.baseAddress, count)
            }
            filled = count
        }
    }

    /// The elements of `values` rounded once to `dtype`, to nearest even.
    public static func rounded(_ values: [Double], to dtype: DType) throws(Problem) -> [UInt8] {
        guard let kernel = dtype.kernel else { throw unsupported(dtype) }
        let size = values.count * dtype.bits / 8
        return unsafe [UInt8](unsafeUninitializedCapacity: size) { buffer, filled in
            unsafe values.withUnsafeBufferPointer { source in
                _ = unsafe ak_round_f64(kernel, source.baseAddress, buffer.baseAddress, values.count)
            }
            filled = size
        }
    }

    /// The elements of `bytes` as whole numbers; `nil` if `dtype` is no type of those.
    ///
    /// A number beyond `Int` becomes the largest.
    public static func integers(_ bytes: [UInt8], _ dtype: DType) -> [Int]? {
        let isSigned: Bool
        switch dtype {
        case .i8, .i16, .i32, .i64: isSigned = true
        case .u8, .u16, .u32, .u64: isSigned = false
        default: return nil
        }
        let size = dtype.bits / 8
        let shift = UInt64(64 - dtype.bits)
        return stride(from: 0, to: bytes.count, by: size).map { start in
            let bits = (0..<size).reduce(UInt64(0)) { $0 | UInt64(bytes[start + $1]) << (8 * UInt64($1)) }
            return isSigned ? Int(Int64(bitPattern: bits << shift) >> Int64(shift)) : Int(clamping: bits)
        }
    }

    private static func unsupported(_ dtype: DType) -> Problem {
        Problem(.incompatible, "bad-dtype", "\(dtype.rawValue) is no floating-point type that can be computed with")
    }

    /// Calls `body` with the values of `tensor`, piece by piece.
    public static func forEachPiece(
        _ file: SafetensorsFile, _ tensor: TensorInfo, _ body: ([Double]) throws(Problem) -> Bool
    ) throws(Problem) {
        var done = 0
        while done < tensor.elementCount {
            try checkInterrupted()
            let count = min(piece, tensor.elementCount - done)
            let bytes = try file.read(tensor, bytes: range(tensor, done, count))
            if try !body(try doubles(bytes, tensor.dtype)) { return }
            done += count
        }
    }

    private static func range(_ tensor: TensorInfo, _ start: Int, _ count: Int) -> Range<Int> {
        let size = tensor.dtype.bits / 8
        return start * size..<(start + count) * size
    }

    /// Whether two tensors have the same values, `a` rounded to a dtype first if one is given.
    public static func equal(
        _ fileA: SafetensorsFile, _ a: TensorInfo, _ fileB: SafetensorsFile, _ b: TensorInfo,
        roundingTo dtype: DType? = nil
    ) throws(Problem) -> Bool {
        guard a.elementCount == b.elementCount else { return false }
        var done = 0
        while done < a.elementCount {
            try checkInterrupted()
            let count = min(piece, a.elementCount - done)
            var left = try doubles(fileA.read(a, bytes: range(a, done, count)), a.dtype)
            if let dtype, dtype != a.dtype { left = try doubles(rounded(left, to: dtype), dtype) }
            let right = try doubles(fileB.read(b, bytes: range(b, done, count)), b.dtype)
            // NaN is like NaN here.
            if left != right, zip(left, right).contains(where: { $0 != $1 && !($0.isNaN && $1.isNaN) }) { return false }
            done += count
        }
        return true
    }

    /// Whether `a` (m × n) is the transpose of `b` (n × m), in one file.
    public static func equalTransposed(_ file: SafetensorsFile, _ a: TensorInfo, _ b: TensorInfo) throws(Problem)
        -> Bool
    {
        guard a.shape.count == 2, b.shape == a.shape.reversed() else { return false }
        let (left, right) = (try doubles(file.read(a), a.dtype), try doubles(file.read(b), b.dtype))
        let (rows, columns) = (a.shape[0], a.shape[1])
        for row in 0..<rows {
            for column in 0..<columns where left[row * columns + column] != right[column * rows + row] { return false }
        }
        return true
    }

    /// Whether all values are zero; reads no further than the first that is not.
    public static func isZero(_ file: SafetensorsFile, _ tensor: TensorInfo) throws(Problem) -> Bool {
        var isZero = true
        try forEachPiece(file, tensor) { (values) throws(Problem) in
            isZero = values.allSatisfy { $0 == 0 }
            return isZero
        }
        return isZero
    }

    /// How many values are NaN or infinite, and whether all are zero.
    public static func scan(_ file: SafetensorsFile, _ tensor: TensorInfo) throws(Problem) -> (
        nonFinite: Int, allZero: Bool
    ) {
        var nonFinite = 0
        var allZero = true
        try forEachPiece(file, tensor) { (values) throws(Problem) in
            for value in values {
                if !value.isFinite { nonFinite += 1 }
                if value != 0 { allZero = false }
            }
            return true
        }
        return (nonFinite, allZero)
    }
}
