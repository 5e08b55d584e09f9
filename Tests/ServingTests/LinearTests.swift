import CKernels
import Fixtures
import Foundation
import Problems
import Serving
import Testing

/// Linear layers against the definition.
@Suite struct LinearTests {
    struct Shape: CustomTestStringConvertible, Sendable {
        var out: Int
        var into: Int
        var dtype = "BF16"
        var pairs = [(rank: 2, weight: 1.0)]
        var factors = "F32"
        var dora: Int?
        var isRsLoRA = false
        var isTransposed = false
        var hasBias = false

        var testDescription: String {
            "\(dtype) \(out)x\(into), \(pairs.count) adapters in \(factors)" + (dora == nil ? "" : ", DoRA")
                + (isTransposed ? ", transposed" : "") + (hasBias ? ", bias" : "")
        }
    }

    static let shapes = [
        Shape(out: 1, into: 1), Shape(out: 7, into: 13, dtype: "F32"), Shape(out: 513, into: 1, dtype: "F16"),
        Shape(out: 1, into: 1030), Shape(out: 33, into: 65, dtype: "F64", factors: "F64"),
        Shape(out: 64, into: 48, factors: "BF16", isRsLoRA: true), Shape(out: 21, into: 35, dtype: "F8_E5M2"),
        Shape(out: 21, into: 35, dtype: "F8_E4M3", factors: "F16"), Shape(out: 12, into: 20, hasBias: true),
        Shape(out: 40, into: 50, pairs: [(257, 1)]),
        Shape(out: 19, into: 37, pairs: [(3, 0.75), (1, -1.5), (8, 0.001)]),
        Shape(out: 23, into: 31, dtype: "F32", dora: 0), Shape(out: 23, into: 31, dora: 0, hasBias: true),
        Shape(out: 23, into: 31, dtype: "F64", pairs: [(3, -0.5), (4, 1), (2, 1.25)], dora: 1),
        Shape(out: 17, into: 29, isTransposed: true),
        Shape(out: 29, into: 17, dtype: "F32", isTransposed: true, hasBias: true),
        Shape(out: 70, into: 33, pairs: [(3, 0.75), (5, 2)], isTransposed: true),
        Shape(out: 23, into: 31, pairs: [(3, -0.5), (4, 1), (2, 1.25)], dora: 1, isTransposed: true),
        Shape(out: 100, into: 131, pairs: [(3, 2)]), Shape(out: 100, into: 131, pairs: [(3, 2)], isTransposed: true),
    ]

    private struct Made {
        let sample: Sample
        let model: ServedModel
        let pairs: [Sample.Pair]
        let weight: [Double]
        let bias: [Double]?

        init(_ shape: Shape, _ test: String, threads: Int = 2) throws {
            sample = try Sample(test)
            let stored = shape.isTransposed ? [shape.into, shape.out] : [shape.out, shape.into]
            let w = sample.tensor("layer.weight", shape.dtype, stored)
            let b = sample.tensor("layer.bias", "F32", [shape.out])
            bias = shape.hasBias ? b.values : nil
            let values = w.values
            weight =
                shape.isTransposed
                ? (0..<shape.out * shape.into).map { values[$0 % shape.into * shape.out + $0 / shape.into] } : values
            let path = try sample.base([w] + (shape.hasBias ? [b] : []))
            model = try ServedModel(path: path, threads: threads)
            var made: [Sample.Pair] = []
            for (at, given) in shape.pairs.enumerated() {
                var pair = Sample.Pair(
                    rank: given.rank, alpha: 3, weight: given.weight, dtype: shape.factors, isDoRA: shape.dora == at,
                    isRsLoRA: shape.isRsLoRA)
                let adapter = try sample.adapter(
                    for: &pair, into: shape.into, out: shape.out, fanInFanOut: shape.isTransposed)
                try model.attach(path: adapter, weight: pair.weight)
                made.append(pair)
            }
            pairs = made
        }

        func layer(_ shape: Shape) throws -> LinearLayer {
            try model.linear("layer", layout: shape.isTransposed ? .inByOut : .outByIn)
        }
    }

    @Test(arguments: shapes) func isTheDefinition(_ shape: Shape) throws {
        let made = try Made(shape, "isTheDefinition of \(shape.testDescription)")
        let layer = try made.layer(shape)
        #expect(layer.inputs == shape.into && layer.outputs == shape.out && layer.hasBias == shape.hasBias)
        let x = made.sample.random.numbers(5 * shape.into).map { Float($0) }
        let y = try layer.apply(x)
        try #require(y.count == 5 * shape.out)
        let rank = made.pairs.reduce(0) { $0 + $1.rank }
        for row in 0..<5 {
            let exact = Sample.answer(
                x[row * shape.into..<(row + 1) * shape.into].map { Double($0) }, made.weight, made.pairs,
                bias: made.bias)
            let got = y[row * shape.out..<(row + 1) * shape.out]
            #expect(Sample.misses(got, exact, into: shape.into, rank: rank) == 0, "row \(row)")
        }
    }

    /// Not the batch, the threads, the CPU's instructions or reading again show in the bits.
    @Test(arguments: [false, true], [nil, 0]) func sameBits(_ isTransposed: Bool, _ dora: Int?) throws {
        defer { ak_level_force(-1) }
        let shape = Shape(
            out: 530, into: 270, pairs: [(3, 1), (5, 0.5)], dora: dora, isTransposed: isTransposed, hasBias: true)
        let made = try Made(shape, "sameBits", threads: 1)
        let x = made.sample.random.numbers(40 * shape.into).map { Float($0) }
        let y = bits(try made.layer(shape).apply(x))
        for row in [0, 1, 17, 39] {
            let alone = try made.layer(shape).apply(Array(x[row * shape.into..<(row + 1) * shape.into]))
            #expect(bits(alone) == Array(y[row * shape.out..<(row + 1) * shape.out]))
        }
        for threads in [2, 3, 7] {
            for level in 0...ak_level_best() {
                ak_level_force(level)
                let other = try ServedModel(made.model.checkpoint, threads: threads)
                for entry in made.model.attachments { try other.attach(entry.adapter, weight: entry.weight) }
                let layer = try other.linear("layer", layout: isTransposed ? .inByOut : .outByIn)
                #expect(bits(try layer.apply(x)) == y, "\(threads) threads, level \(level)")
            }
        }
        made.model.unload()
        #expect(made.model.loadedBytes == 0)
        #expect(bits(try made.layer(shape).apply(x)) == y)
        #expect(made.model.loadedBytes == 530 * 270 * 2 + 530 * 4)
    }

    @Test func magnitudesOfZero() throws {
        let sample = try Sample("magnitudesOfZero")
        let model = try ServedModel(path: try sample.base([sample.tensor("layer.weight", "F32", [4, 6])]))
        let tensors = [
            sample.tensor("layer.lora_A.weight", "F32", [2, 6]), sample.tensor("layer.lora_B.weight", "F32", [4, 2]),
            TensorFile.Tensor("layer.lora_magnitude_vector", "F32", [4], [1, 0, -2, 0]),
        ]
        try model.attach(path: try sample.adapter(tensors, ["use_dora": true]))
        let x = sample.random.numbers(6).map { Float($0) }
        let alone = try model.linear("layer").apply(x)
        #expect(alone[1] == 0 && alone[3] == 0 && alone[0] != 0)
        // What others add stays.
        var pair = Sample.Pair()
        try model.attach(path: try sample.adapter(for: &pair, into: 6, out: 4))
        let both = try model.linear("layer").apply(x)
        let plain = Sample.answer(x.map { Double($0) }, [Double](repeating: 0, count: 24), [pair])
        #expect(both[1] == Float(plain[1].value) || abs(Double(both[1]) - plain[1].value) < 1e-7)
    }

    @Test func batchesThatDoNotFit() throws {
        let sample = try Sample("batchesThatDoNotFit")
        let model = try ServedModel(path: try sample.base([sample.tensor("layer.weight", "F32", [4, 6])]))
        let layer = try model.linear("layer.weight")
        #expect(try layer.apply([]) == [])
        let error = #expect(throws: Problem.self) { try layer.apply([1, 2, 3]) }
        #expect(error?.code == "bad-batch")
        #expect(error?.message == "takes rows of 6 numbers, but 3 are no multiple of that")
        for (name, expert, code) in [("nothing", nil, "no-tensor"), ("layer", 0, "no-matrix")]
            as [(String, Int?, String)]
        {
            let error = #expect(throws: Problem.self) { try model.linear(name, expert: expert) }
            #expect(error?.code == code)
        }
        let tokens = #expect(throws: Problem.self) { try model.embedding("layer").rows(of: [0, 4]) }
        #expect(tokens?.message == "has 4 rows, and no row 4")
    }
}
