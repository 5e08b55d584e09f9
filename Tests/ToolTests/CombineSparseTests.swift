import Fixtures
import Testing

/// The methods that drop single elements, on deltas small enough to work out by hand.
@Suite struct CombineSparseTests {
    private static let module = "layers.0.q_proj"

    /// An adapter of rank 1 and scale 1 whose delta is column · row.
    private static func adapter(_ column: [Double], _ row: [Double], as name: String, in scratch: Scratch) throws
        -> String
    {
        let entry = (module, Matrix([row]), Matrix(column.map { [$0] }))
        return try Factors([entry]).write(as: name, in: scratch)
    }

    private func delta(
        _ method: String, _ operands: [String], _ scratch: Scratch, _ options: [String]
    ) throws -> Matrix {
        let answer = Tools.run(
            "adapter-combine", [method] + operands + ["-o", scratch("out"), "--force", "--json"] + options)
        try #require(answer.status == 0, "\(answer.err)")
        let error = try #require(facts(answer.json(), Self.module)["relative_error"] as? Double)
        #expect(error < 1e-6, "the rank was to be enough")
        let found = try #require(WrittenAdapter(scratch("out")).delta(Self.module))
        let norm = try #require(facts(answer.json(), Self.module)["norm"] as? Double)
        #expect(abs(norm - found.norm) <= 1e-6 * max(1, norm))
        return found
    }

    private func expect(_ found: Matrix, _ wanted: [[Double]], _ what: String) {
        #expect(found.distance(to: Matrix(wanted)) < 1e-5, "\(what): \(found.values) instead of \(wanted)")
    }

    /// D₁ = [1 2 3; -2 -4 -6] and D₂ = [-3 1 -2; 3 -1 2].
    ///
    /// Half of six elements are three; of equal ones the first stay.
    @Test func deltasOfTwo() throws {
        let scratch = try Scratch()
        let first = try Self.adapter([1, -2], [1, 2, 3], as: "a", in: scratch)
        let second = try Self.adapter([1, -1], [-3, 1, -2], as: "b", in: scratch)
        let operands = [first, second + ":2"]
        let options = ["--density", "0.5", "--rank", "2"]
        // [0 0 3; 0 -4 -6] + 2·[-3 0 -2; 3 0 0]
        try expect(
            delta("magnitude-prune", operands, scratch, options), [[-6, 0, -1], [6, -4, -6]], "magnitude-prune")
        // The signs of the sum without weights: at the end of the first row 3 - 2 is positive, so only the 3 counts.
        try expect(delta("ties", operands, scratch, options), [[-6, 0, 3], [6, -4, -6]], "ties")
        // 3.6 of 6 are still three; 4.2 are four.
        try expect(
            delta("ties", operands, scratch, ["--density", "0.6", "--rank", "2"]), [[-6, 0, 3], [6, -4, -6]], "0.6")
        // [0 0 3; -2 -4 -6]: 2 before it is equal to -2, but comes first. The second gets -2 and then 2.
        try expect(
            delta("magnitude-prune", [first], scratch, ["--density", "0.7", "--rank", "2"]),
            [[0, 2, 3], [0, -4, -6]],
            "0.7")
        // Everything: signs of [-2 3 1; 1 -5 -4], and the mean where both have them.
        try expect(
            delta("ties", operands, scratch, ["--density", "1", "--rank", "2"]), [[-6, 2, 3], [6, -3, -6]], "all of it")
        // Too little for a single element.
        try expect(
            delta(
                "magnitude-prune", operands, scratch, ["--density", "0.1", "--rank", "2"]),
            [[0, 0, 0], [0, 0, 0]], "none")
        #expect(try WrittenAdapter(scratch("out")).tensors.values.allSatisfy { $0.bytes.allSatisfy { $0 == 0 } })
    }

    /// 5 against twice -1: by the sum the sign is plus, by the number minus.
    @Test func elections() throws {
        let scratch = try Scratch()
        let operands = try [[5.0, 1], [-1, 1], [-1, 1]].enumerated().map { at, row in
            try Self.adapter([1], row, as: "a\(at)", in: scratch)
        }
        let options = ["--density", "1", "--rank", "1"]
        try expect(delta("ties", operands, scratch, options), [[5, 1]], "total")
        try expect(delta("ties", operands, scratch, options + ["--sign", "total"]), [[5, 1]], "total")
        try expect(delta("ties", operands, scratch, options + ["--sign", "frequency"]), [[-1, 1]], "frequency")
        // One against one: a sum of zero counts as plus.
        try expect(
            delta("ties", Array(operands.prefix(2)), scratch, options + ["--sign", "frequency"]), [[5, 1]], "a draw")
        // A weight changes what is summed, not who is elected.
        let weighted = [operands[0] + ":0.1", operands[1] + ":3", operands[2]]
        try expect(delta("ties", weighted, scratch, options), [[0.5, 4.1 / 3]], "weights")
    }

    /// The scale belongs to the delta, so it takes part in the election.
    @Test func scalesComeFirst() throws {
        let scratch = try Scratch()
        var loud = Factors([(Self.module, Matrix([[1, 1]]), Matrix([[1]]))], alpha: 4)
        let first = try loud.write(as: "a", in: scratch)
        loud.modules[0].a = Matrix([[-3, -5]])
        loud.alpha = 1
        let second = try loud.write(as: "b", in: scratch)
        try expect(
            delta("ties", [first, second], scratch, ["--density", "1", "--rank", "1"]), [[4, -5]], "4 against 3 and 5")
    }

    /// A and B each by themselves, with the root of the weight: density 0.7 keeps two of three and one of two.
    @Test func factors() throws {
        let scratch = try Scratch()
        let first = try Self.adapter([1, -2], [1, 2, 3], as: "a", in: scratch)
        let second = try Self.adapter([1, -1], [-3, 1, -2], as: "b", in: scratch)
        let options = ["--on", "factors", "--density", "0.7"]
        for (method, weight, a, b) in [
            // [0 2 3] + 2·[-3 0 -2], [0 -2] + 2·[1 0]
            ("magnitude-prune", ":4", [-6, 2, -1], [2, -2]),
            // Signs of [-3 2 1]; -2 does not have its one.
            ("ties", ":4", [-6, 2, 3], [2, -2]),
            // The sign of a weight goes to A.
            ("magnitude-prune", ":-4", [6, 2, 7], [2, -2]),
        ] as [(String, String, [Double], [Double])] {
            _ = try delta(method, [first, second + weight], scratch, options)
            let found = try WrittenAdapter(scratch("out"))
            #expect(found.values(Self.module, "A") == a, "\(method)\(weight)")
            #expect(found.values(Self.module, "B") == b, "\(method)\(weight)")
            #expect(found.config["r"] as? Int == 1 && found.config["lora_alpha"] as? Int == 1)
        }
        // PEFT's linear: (B₁ + 2·B₂)·(A₁ + 2·A₂).
        _ = try delta("factor-linear", [first, second + ":4"], scratch, [])
        #expect(try WrittenAdapter(scratch("out")).values(Self.module, "A") == [-5, 4, -1])
        #expect(try WrittenAdapter(scratch("out")).values(Self.module, "B") == [3, -4])
    }

    /// Each element is dropped or divided by the density, by the seed alone.
    @Test(arguments: ["dare-linear", "dare-ties"], ["deltas", "factors"]) func dropping(_ method: String, _ on: String)
        throws
    {
        let scratch = try Scratch()
        var random = SeededRandom(test: "dropping")
        let a = Factors.random([Self.module], out: 9, into: 7, rank: 2, &random)
        let path = try a.write(as: "a", in: scratch)
        let options = ["--on", on, "--density", "0.5"] + (on == "deltas" ? ["--rank", "7"] : [])
        let found = try delta(method, [path], scratch, options + ["--seed", "3"])
        let first = contents(of: scratch("out"))
        if on == "deltas" {
            expectDropped(found, a.modules[0].b * a.modules[0].a, tolerance: 1e-5)
        } else {
            let adapter = try WrittenAdapter(scratch("out"))
            expectDropped(Matrix(try #require(adapter.tensors[Pair.key(Self.module, "A")])), a.modules[0].a)
            expectDropped(Matrix(try #require(adapter.tensors[Pair.key(Self.module, "B")])), a.modules[0].b)
        }
        _ = try delta(method, [path], scratch, options + ["--seed", "3"])
        #expect(contents(of: scratch("out")) == first)
        let tensors = try WrittenAdapter(scratch("out")).tensors
        _ = try delta(method, [path], scratch, options + ["--seed", "4"])
        #expect(try WrittenAdapter(scratch("out")).tensors != tensors)
        _ = try delta(method, [path], scratch, options + ["--seed", "0"])
        let zero = contents(of: scratch("out"))
        _ = try delta(method, [path], scratch, options)
        #expect(contents(of: scratch("out")) == zero, "0 is the seed that is not named")
        let all = try delta(method, [path], scratch, ["--on", on, "--density", "1"])
        #expect(all.distance(to: a.modules[0].b * a.modules[0].a) < 1e-5)
    }

    private func expectDropped(_ found: Matrix, _ whole: Matrix, tolerance: Double = 0) {
        var kept = 0
        for (own, value) in zip(found.values, whole.values) {
            let isKept = abs(own) > tolerance
            kept += isKept ? 1 : 0
            #expect(abs(own - (isKept ? 2 * value : 0)) <= tolerance, "\(own) of \(value)")
        }
        #expect(kept > 0 && kept < whole.values.count, "\(kept) of \(whole.values.count)")
    }

    /// Without a rank the result has that of the largest adapter: the best one for what the method gives.
    @Test func theLargestRankUnlessTold() throws {
        let scratch = try Scratch()
        let first = try Self.adapter([1, -2], [1, 2, 3], as: "a", in: scratch)
        let answer = Tools.combine("magnitude-prune", [first], scratch("out"), "--density", "0.5", "--json")
        #expect(answer.status == 0, "\(answer.err)")
        let facts = facts(try answer.json(), Self.module)
        // [0 0 3; 0 -4 -6]: the squares of its singular values are 61/2 ± √(61²/4 - 144).
        let root = (61.0 * 61 / 4 - 144).squareRoot()
        let (large, small) = (30.5 + root, 30.5 - root)
        #expect(facts["rank"] as? Int == 1)
        let numbers: [(String, Double)] = [
            ("norm", 61.squareRoot()), ("retained_energy", large / 61), ("relative_error", (small / 61).squareRoot()),
            ("largest_error", small.squareRoot()),
        ]
        for (key, wanted) in numbers {
            let own = try #require(facts[key] as? Double)
            #expect(abs(own - wanted) < 1e-6, "\(key): \(own) instead of \(wanted)")
        }
        #expect(facts["exact"] as? Bool == false)
    }
}
