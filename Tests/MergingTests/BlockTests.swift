import Fixtures
import Testing

/// Merges of awkward shapes against plain loops in float64.
@Suite struct BlockTests {
    /// One weight and one adapter.
    struct Shape: CustomTestStringConvertible, Sendable {
        var shape: [Int]
        var dtype = "BF16"
        var rank = 2
        var factors = "F32"
        var isDoRA = false
        var isTransposed = false

        var testDescription: String {
            "\(dtype) \(shape), rank \(rank) in \(factors)" + (isDoRA ? ", DoRA" : "")
                + (isTransposed ? ", transposed" : "")
        }
    }

    static let shapes = [
        Shape(shape: [1, 513]), Shape(shape: [513, 1]), Shape(shape: [1, 1], rank: 1), Shape(shape: [7, 13], rank: 1),
        Shape(shape: [33, 65], dtype: "F16", rank: 5), Shape(shape: [3, 200], rank: 17),
        Shape(shape: [129, 31], rank: 64),
        // Beyond rank 256, and with float64 factors, everything is computed in float64.
        Shape(shape: [40, 50], rank: 257), Shape(shape: [40, 50], dtype: "F16", rank: 300),
        Shape(shape: [21, 35], rank: 256), Shape(shape: [21, 35], rank: 3, factors: "F64"),
        Shape(shape: [21, 35], dtype: "F64", rank: 3, factors: "F64"), Shape(shape: [21, 35], dtype: "F64", rank: 3),
        Shape(shape: [21, 35], dtype: "F32", rank: 3, factors: "BF16"),
        Shape(shape: [35, 21], rank: 3, factors: "F16"),
        Shape(shape: [35, 21], dtype: "F16", rank: 8, factors: "BF16", isTransposed: true),
        // Several blocks: of 2^20 / rank rows, and of 2^18 elements in float64.
        Shape(shape: [5000, 3], rank: 256), Shape(shape: [3000, 2], rank: 400),
        Shape(shape: [270_001, 1], dtype: "F32", rank: 1), Shape(shape: [1, 270_001], dtype: "F32", rank: 1),
        Shape(shape: [601, 501], rank: 2, isDoRA: true),
        Shape(shape: [601, 501], rank: 2, isDoRA: true, isTransposed: true),
        Shape(shape: [5, 9], dtype: "F32", rank: 2, isDoRA: true),
        Shape(shape: [1, 9], dtype: "F64", rank: 2, isDoRA: true),
        Shape(shape: [9, 5], dtype: "F16", rank: 300, isDoRA: true, isTransposed: true),
    ]

    @Test(arguments: shapes) func oneAdapter(_ shape: Shape) throws {
        let made = try Made(shape.shape, shape.dtype, transposed: shape.isTransposed)
        var part = Made.Part(rank: shape.rank, alpha: 3)
        part.dtype = shape.factors
        part.isDoRA = shape.isDoRA
        try made.add(part)
        let output = try made.merge()
        let wanted = made.expected()
        try compare(output, wanted, shape.dtype)
        let alone = try made.merge(threads: 1)
        #expect(alone.tensors == output.tensors)
        guard wanted.count < 20_000 else { return }
        // The same sum, cast instead of rounded to the base's type.
        for (dtype, name) in [(DTypeName.f32, "F32"), (.bf16, "BF16")] where name != shape.dtype {
            try compare(try made.merge { $0.dtype = dtype.value }, wanted, name)
        }
    }

    @Test func severalAdaptersAreSummedBeforeRounding() throws {
        let made = try Made([37, 53], "BF16")
        try made.add(Made.Part(rank: 3, alpha: 6, weight: 0.75))
        try made.add(Made.Part(rank: 250, alpha: 4, weight: -1.5, dtype: "BF16"))
        try made.add(Made.Part(rank: 1, alpha: 1, weight: 0.001, dtype: "F16"))
        try compare(try made.merge(), made.expected(), "BF16")
        // Together their rank is over 256 now, so the other way is taken.
        try made.add(Made.Part(rank: 9, alpha: 1, weight: 2))
        try compare(try made.merge(), made.expected(), "BF16")
    }

    @Test(arguments: [false, true], ["BF16", "F32", "F64"]) func doraWithOthers(_ isTransposed: Bool, _ dtype: String)
        throws
    {
        let made = try Made([23, 31], dtype, transposed: isTransposed)
        try made.add(Made.Part(rank: 3, alpha: 6, weight: -0.5))
        try made.add(Made.Part(rank: 4, alpha: 2, isDoRA: true))
        try made.add(Made.Part(rank: 2, alpha: 8, weight: 1.25))
        try compare(try made.merge(), made.expected(), dtype)
    }

    /// A magnitude of zero takes W + D away, yet not what the other adapters add.
    @Test(arguments: [false, true]) func zeroMagnitudes(_ isTransposed: Bool) throws {
        let made = try Made([6, 10], "F32", transposed: isTransposed)
        var magnitudes = Array(repeating: 1.5, count: isTransposed ? 10 : 6)
        magnitudes[2] = 0
        try made.add(Made.Part(rank: 2, isDoRA: true), magnitudes: magnitudes)
        try made.add(Made.Part(rank: 2, weight: 0.5))
        try compare(try made.merge(), made.expected(), "F32")
    }

    /// Every 16-bit value is the exact one rounded once; wider ones differ by the order of the sum at most.
    private func compare(_ output: TensorFile, _ wanted: [Double], _ dtype: String) throws {
        let tensor = try #require(output["layer.weight"])
        #expect(tensor.dtype == dtype)
        #expect(output["other.weight"]?.values == [1, -2, 3])
        let rounded = Format.named(dtype)
        let values = rounded.decode(rounded.encode(wanted))
        if dtype == "F32" || dtype == "F64" {
            let largest = wanted.map(\.magnitude).max() ?? 0
            let tolerance = largest * (dtype == "F32" ? 1e-7 : 1e-14)
            let wrong = zip(tensor.values, wanted).count { !(abs($0 - $1) <= tolerance) }
            #expect(wrong == 0, "of \(wanted.count)")
        } else {
            let wrong = zip(tensor.values, values).count { $0 != $1 }
            #expect(wrong == 0, "of \(wanted.count)")
        }
    }
}
