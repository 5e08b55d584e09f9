import Fixtures
import Foundation
import Testing

/// Matrices too large to be decomposed whole, against a spectrum that is known since it lies on a diagonal.
@Suite struct ExtractSketchTests {
    private static let (rows, columns) = (330, 290)
    private static let module = "layers.0.q_proj"

    private let scratch: Scratch
    private let base: String
    private let tuned: String
    /// float32 numbers that fall by a tenth each, in an order that is not theirs.
    private let values: [Double]

    init() throws {
        scratch = try Scratch()
        values = (0..<Self.columns).map { Double(Float(50 * pow(0.9, Double($0)))) }
        var change = Matrix.diagonal(Self.rows, Self.columns, [])
        for (at, value) in values.enumerated() { change[at * 7 % Self.rows, at * 3 % Self.columns] = value }
        let name = Self.module + ".weight"
        let zero = TensorFile.Tensor(
            name, "F32", [Self.rows, Self.columns], bytes: [UInt8](repeating: 0, count: Self.rows * Self.columns * 4))
        base = try scratch.write("base.safetensors", TensorFile([zero]).encoded)
        tuned = try scratch.write(
            "tuned.safetensors",
            TensorFile([TensorFile.Tensor(name, "F32", [Self.rows, Self.columns], change.values)]).encoded)
    }

    private func extract(_ name: String, _ options: String...) throws -> [String: Any] {
        let answer = Tools.run("adapter-extract", [base, tuned, "-o", scratch(name), "--json"] + options)
        try #require(answer.status == 0, "\(answer.err)")
        return facts(try answer.json(), Self.module)
    }

    @Test(arguments: [4, 20]) func rank(_ kept: Int) throws {
        let entry = try extract("out", "--rank", "\(kept)")
        let squares = values.map { $0 * $0 }
        let (all, lost) = (squares.reduce(0, +), squares.dropFirst(kept).reduce(0, +))
        let norm = try #require(entry["norm"] as? Double)
        #expect(abs(norm - all.squareRoot()) <= 1e-9 * norm)
        #expect(entry["rank"] as? Int == kept && entry["rank_in"] as? Int == Self.columns)
        #expect(entry["exact"] as? Bool == false)
        // No approximation is better than the best one, and the sketch comes near it.
        let best = (lost / all).squareRoot()
        let error = try #require(entry["relative_error"] as? Double)
        #expect(error >= best * (1 - 1e-9) && error <= best * (1 + 1e-4), "\(error) instead of \(best)")
        let energy = try #require(entry["retained_energy"] as? Double)
        #expect(abs(energy - (1 - lost / all)) < 1e-4)
        let dropped = try #require(entry["largest_error"] as? Double)
        #expect(abs(dropped - values[kept]) <= 1e-2 * values[kept], "\(dropped) instead of \(values[kept])")
        let delta = try #require(WrittenAdapter(scratch("out")).delta(Self.module))
        let whole = try Matrix(#require(TensorFile(path: tuned).tensors.first))
        #expect(abs((delta - whole).norm / whole.norm - error) <= 1e-7, "the error is that of the stored factors")
    }

    @Test func energy() throws {
        let squares = values.map { $0 * $0 }
        let all = squares.reduce(0, +)
        for energy in [0.5, 0.9, 0.99, 0.9999] {
            var (wanted, sum) = (0, 0.0)
            while sum < energy * all {
                sum += squares[wanted]
                wanted += 1
            }
            let entry = try extract("out\(energy)", "--energy", "\(energy)")
            #expect(entry["rank"] as? Int == wanted, "\(energy)")
            #expect((entry["retained_energy"] as? Double ?? 0) >= energy - 1e-9)
        }
    }

    @Test func seeds() throws {
        for (name, seed) in [("first", "5"), ("second", "5"), ("third", "6"), ("zero", "0")] {
            _ = try extract(name, "--rank", "4", "--seed", seed)
        }
        _ = try extract("none", "--rank", "4")
        #expect(contents(of: scratch("first")) == contents(of: scratch("second")))
        #expect(contents(of: scratch("zero")) == contents(of: scratch("none")))
        #expect(try tensors(in: scratch("first")) != tensors(in: scratch("third")))
        let deltas = try ["first", "third"].map { name in
            try #require(WrittenAdapter(scratch(name)).delta(Self.module))
        }
        #expect(deltas[0].distance(to: deltas[1]) < 0.05 * deltas[0].largest, "another sketch, but the same matrix")
    }
}
