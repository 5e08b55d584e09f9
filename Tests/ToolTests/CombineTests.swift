import Fixtures
import Foundation
import Testing

/// Sums without any loss: what `stack` and `subtract` write.
@Suite struct CombineTests {
    private static let paths = ["layers.0.q_proj", "layers.1.q_proj"]
    private static let (out, into) = (8, 6)

    private func random(_ rank: Int, alpha: Double, _ random: inout SeededRandom, paths: [String] = Self.paths)
        -> Factors
    {
        Factors.random(paths, out: Self.out, into: Self.into, rank: rank, alpha: alpha, &random)
    }

    /// What a plain result says of itself besides ranks and targets.
    private func config(_ rank: Int, alpha: Any, targets: [String] = ["q_proj"]) -> [String: Any] {
        [
            "peft_type": "LORA", "bias": "none", "fan_in_fan_out": false, "inference_mode": true,
            "init_lora_weights": true, "lora_bias": false, "lora_dropout": 0, "use_dora": false, "use_rslora": false,
            "revision": NSNull(), "task_type": NSNull(), "modules_to_save": NSNull(),
            "base_model_name_or_path": "base", "r": rank, "lora_alpha": alpha, "target_modules": targets,
            "rank_pattern": [String: Any](), "alpha_pattern": [String: Any](),
        ]
    }

    /// A's rows one after the other; B's columns side by side, each times its coefficient and rounded once to float32.
    private func expectStacked(
        _ found: WrittenAdapter, _ path: String, _ parts: [(entry: Factors.Entry, coefficient: Double)],
        padding: Int = 0,
        dtype: String = "F32"
    ) throws {
        let zeros = [Double](repeating: 0, count: padding)
        let a = parts.flatMap(\.entry.a.values) + [Double](repeating: 0, count: padding * Self.into)
        let b = (0..<Self.out).flatMap { row in
            parts.flatMap { part in
                (0..<part.entry.b.columns).map { Double(Float(part.entry.b[row, $0] * part.coefficient)) }
            } + zeros
        }
        let rank = parts.reduce(padding) { $0 + $1.entry.a.rows }
        #expect(
            found.tensors[Pair.key(path, "A")]
                == TensorFile.Tensor(Pair.key(path, "A"), dtype, [rank, Self.into], a), "\(path)")
        #expect(
            found.tensors[Pair.key(path, "B")]
                == TensorFile.Tensor(Pair.key(path, "B"), dtype, [Self.out, rank], b), "\(path)")
    }

    @Test func pairsOfOneScaleStayAsTheyAre() throws {
        let scratch = try Scratch()
        let first = try Pair().writeAdapter(as: "first", in: scratch)
        var other = Pair()
        for at in other.adapter.indices {
            let old = other.adapter[at]
            other.adapter[at] = TensorFile.Tensor(old.name, old.dtype, old.shape, old.values.reversed())
        }
        let second = try other.writeAdapter(as: "second", in: scratch)
        let answer = Tools.combine("stack", [first, second], scratch("out"))
        #expect(answer.status == 0, "\(answer.err)")
        #expect(answer.warnings.isEmpty && answer.errors.isEmpty, "\(answer.err)")
        #expect(scratch.names == ["first", "out", "second"])
        #expect(Golden.names(in: scratch("out")) == ["adapter_config.json", "adapter_model.safetensors"])
        let found = try WrittenAdapter(scratch("out"))
        #expect(found.tensors.count == 2 * Pair.modules.count)
        let (own, its) = try (tensors(in: first), tensors(in: second))
        for module in Pair.modules {
            let (a, b) = (Pair.key(module.name, "A"), Pair.key(module.name, "B"))
            let rows = try #require(own[a]).bytes + #require(its[a]).bytes
            #expect(found.tensors[a] == TensorFile.Tensor(a, "F32", [4, module.into], bytes: rows))
            let (left, right) = try (Matrix(#require(own[b])), Matrix(#require(its[b])))
            let columns = (0..<module.out).flatMap { [left[$0, 0], left[$0, 1], right[$0, 0], right[$0, 1]] }
            #expect(found.tensors[b] == TensorFile.Tensor(b, "F32", [module.out, 4], columns))
        }
        let targets = ["k_proj", "o_proj", "q_proj", "v_proj"]
        #expect(same(found.config, config(4, alpha: 8, targets: targets)), "\(found.config)")
        #expect(found.metadata["format"] == "pt")
        #expect(found.metadata["adapterkit.method"] == #"{"method":"stack"}"#)
    }

    @Test func weightsAreFoldedIntoB() throws {
        let scratch = try Scratch()
        var random = SeededRandom(test: "weightsAreFoldedIntoB")
        let (a, b) = (self.random(2, alpha: 4, &random), self.random(2, alpha: 3, &random))
        let paths = try [a.write(as: "a", in: scratch), b.write(as: "b", in: scratch)]
        for (method, weights) in [("stack", [0.3, -1.7]), ("subtract", [0.3, 1.7])] {
            let operands = zip(paths, weights).map { "\($0):\($1)" }
            let answer = Tools.combine(method, operands, scratch(method), "--json")
            #expect(answer.status == 0, "\(answer.err)")
            let found = try WrittenAdapter(scratch(method))
            #expect(same(found.config, config(4, alpha: 4)), "\(found.config)")
            let document = try answer.json()
            for (at, path) in Self.paths.enumerated() {
                try expectStacked(found, path, [(a.modules[at], 0.3 * 2), (b.modules[at], -1.7 * 1.5)])
                let exact =
                    0.6 * (a.modules[at].b * a.modules[at].a) - 2.55 * (b.modules[at].b * b.modules[at].a)
                let norm = try #require(facts(document, path)["norm"] as? Double)
                #expect(abs(norm - exact.norm) <= 1e-12 * exact.norm)
                let error = try #require(facts(document, path)["relative_error"] as? Double)
                #expect(error > 0 && error < 1e-7)
                #expect(facts(document, path)["exact"] as? Bool == true)
            }
        }
        #expect(try tensors(in: scratch("stack")) == tensors(in: scratch("subtract")))
    }

    /// One coefficient for all stays outside of the factors, where alpha is then a whole number.
    @Test func aCommonCoefficientGoesIntoAlpha() throws {
        let scratch = try Scratch()
        var random = SeededRandom(test: "aCommonCoefficientGoesIntoAlpha")
        let (a, b) = (self.random(2, alpha: 4, &random), self.random(2, alpha: 2, &random))
        let paths = try [a.write(as: "a", in: scratch), b.write(as: "b", in: scratch)]
        for (name, operands, alpha, signs) in [
            ("half", [paths[0] + ":0.25", paths[1] + ":0.5"], 2, [1.0, 1]),
            ("minus", [paths[0] + ":-1", paths[1] + ":2"], 8, [-1, 1]),
        ] as [(String, [String], Int, [Double])] {
            #expect(Tools.combine("stack", operands, scratch(name)).status == 0)
            let found = try WrittenAdapter(scratch(name))
            #expect(same(found.config, config(4, alpha: alpha)), "\(found.config)")
            for (at, path) in Self.paths.enumerated() {
                try expectStacked(found, path, [(a.modules[at], signs[0]), (b.modules[at], signs[1])])
            }
        }
        #expect(Tools.combine("stack", [paths[0] + ":0.13", paths[1] + ":0.26"], scratch("odd")).status == 0)
        #expect(try same(WrittenAdapter(scratch("odd")).config, config(4, alpha: 4)))
    }

    @Test func sixteenBitsStayWhereNothingIsFolded() throws {
        let scratch = try Scratch()
        var random = SeededRandom(test: "sixteenBitsStayWhereNothingIsFolded")
        var made = [self.random(2, alpha: 4, &random), self.random(2, alpha: 4, &random)]
        for at in made.indices {
            made[at].dtype = "BF16"
            for module in made[at].modules.indices {
                made[at].modules[module].a.values = rounded(made[at].modules[module].a.values)
                made[at].modules[module].b.values = rounded(made[at].modules[module].b.values)
            }
        }
        let paths = try [made[0].write(as: "a", in: scratch), made[1].write(as: "b", in: scratch)]
        for (method, weights, dtype, coefficients) in [
            ("stack", ["", ""], "BF16", [1.0, 1]), ("subtract", ["", ""], "BF16", [1, -1]),
            ("stack", [":0.5", ":0.5"], "BF16", [1, 1]), ("stack", [":0.3", ":0.7"], "F32", [0.3 * 2, 0.7 * 2]),
        ] as [(String, [String], String, [Double])] {
            let name = "\(method)\(weights[0])"
            let operands = zip(paths, weights).map { $0 + $1 }
            let answer = Tools.combine(method, operands, scratch(name), "--json")
            #expect(answer.status == 0, "\(answer.err)")
            #expect(try answer.json()["dtype"] as? String == dtype)
            let found = try WrittenAdapter(scratch(name))
            for (at, path) in Self.paths.enumerated() {
                let parts = zip(made, coefficients).map { (entry: $0.modules[at], coefficient: $1) }
                try expectStacked(found, path, parts, dtype: dtype)
            }
        }
        let wide = Tools.combine("stack", paths, scratch("wide"), "--dtype", "float64", "--json")
        #expect(try wide.json()["dtype"] as? String == "F64")
        let (own, narrow) = try (WrittenAdapter(scratch("wide")), WrittenAdapter(scratch("stack")))
        for (name, tensor) in narrow.tensors { #expect(own.tensors[name]?.values == tensor.values) }
    }

    private func rounded(_ values: [Double]) -> [Double] {
        TensorFile.Tensor("", "BF16", [values.count], values).values
    }

    @Test func otherRanksAndModulesArePadded() throws {
        let scratch = try Scratch()
        var random = SeededRandom(test: "otherRanksAndModulesArePadded")
        let a = self.random(2, alpha: 4, &random)
        let b = self.random(3, alpha: 6, &random, paths: ["layers.1.q_proj", "layers.1.v_proj"])
        let paths = try [a.write(as: "a", in: scratch), b.write(as: "b", in: scratch)]
        let parts: [(String, [(entry: Factors.Entry, coefficient: Double)])] = [
            ("layers.0.q_proj", [(a.modules[0], 1)]), ("layers.1.q_proj", [(a.modules[1], 1), (b.modules[0], 1)]),
            ("layers.1.v_proj", [(b.modules[1], 1)]),
        ]
        #expect(Tools.combine("stack", paths, scratch("out")).status == 0)
        let padded = try WrittenAdapter(scratch("out"))
        #expect(padded.tensors.count == 6)
        #expect(same(padded.config, config(5, alpha: 10, targets: ["q_proj", "v_proj"])), "\(padded.config)")
        for (path, list) in parts {
            try expectStacked(padded, path, list, padding: 5 - list.reduce(0) { $0 + $1.entry.a.rows })
        }
        let answer = Tools.combine("stack", paths, scratch("own"), "--per-module", "--json")
        let own = try WrittenAdapter(scratch("own"))
        for (path, list) in parts { try expectStacked(own, path, list) }
        #expect(own.config["r"] as? Int == 2 || own.config["r"] as? Int == 3 || own.config["r"] as? Int == 5)
        #expect(try answer.json()["rank"] as? Int == own.config["r"] as? Int)
        for (path, rank) in [("layers.0.q_proj", 2), ("layers.1.q_proj", 5), ("layers.1.v_proj", 3)] {
            let delta = try #require(own.delta(path), "\(path): its patterns give another rank than its tensors have")
            #expect(delta == padded.delta(path))
            #expect(facts(try answer.json(), path)["rank"] as? Int == rank)
            #expect(facts(try answer.json(), path)["rank_in"] as? Int == rank)
        }
    }

    @Test func patternsNameTheRarerRanks() throws {
        let scratch = try Scratch()
        var random = SeededRandom(test: "patternsNameTheRarerRanks")
        let a = self.random(2, alpha: 4, &random, paths: ["layers.0.q_proj", "layers.1.q_proj", "layers.10.q_proj"])
        let b = self.random(3, alpha: 6, &random, paths: ["layers.0.q_proj"])
        let paths = try [a.write(as: "a", in: scratch), b.write(as: "b", in: scratch)]
        #expect(Tools.combine("stack", paths, scratch("out"), "--per-module").status == 0)
        var wanted = config(2, alpha: 4)
        wanted["rank_pattern"] = ["layers.0.q_proj": 5]
        wanted["alpha_pattern"] = ["layers.0.q_proj": 10]
        #expect(try same(WrittenAdapter(scratch("out")).config, wanted))
    }

    @Test func equalFactorsAreCountedOnce() throws {
        let scratch = try Scratch()
        var random = SeededRandom(test: "equalFactorsAreCountedOnce")
        let a = self.random(2, alpha: 4, &random)
        let path = try a.write(as: "a", in: scratch)
        let copy = try a.write(as: "copy", in: scratch)
        #expect(Tools.combine("stack", [path, copy + ":0.5"], scratch("out")).status == 0)
        let found = try WrittenAdapter(scratch("out"))
        #expect(same(found.config, config(2, alpha: 6)), "\(found.config)")
        #expect(try tensors(in: scratch("out")) == tensors(in: path))
        #expect(found.metadata["adapterkit.adapters"]?.contains(#""weight":0.5"#) == true)
    }
}
