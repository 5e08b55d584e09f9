import Fixtures
import Foundation
import Testing

/// Truncations of deltas whose singular values are known since they lie on a diagonal.
@Suite struct CombineSpectrumTests {
    private static let (out, into) = (7, 6)

    /// Unit vectors times values, and unit vectors.
    private static func diagonal(_ path: String, _ values: [Double]) -> Factors.Entry {
        let identity = [Double](repeating: 1, count: values.count)
        return (path, .diagonal(values.count, into, identity), .diagonal(out, values.count, values))
    }

    private static let spectra: [(path: String, values: [Double])] = [
        ("layers.0.q_proj", [8, 4, 2, 1]), ("layers.1.q_proj", [3, 3, 3, 3]), ("layers.2.q_proj", [100, 1, 0.5, 0.25]),
        ("layers.3.q_proj", [0, 0, 0, 0]),
    ]

    private func made(in scratch: Scratch, alpha: Double = 4) throws -> String {
        try Factors(Self.spectra.map { Self.diagonal($0.path, $0.values) }, alpha: alpha).write(as: "a", in: scratch)
    }

    /// Checks a report and the factors against what is left of a diagonal when `kept` values are.
    private func expect(
        _ document: [String: Any], _ found: WrittenAdapter, _ path: String, _ values: [Double], kept: Int,
        scale: Double = 1
    ) throws {
        let entry = facts(document, path)
        let wanted = values.map { $0 * scale }
        let squares = wanted.map { $0 * $0 }
        let (all, lost) = (squares.reduce(0, +), squares.dropFirst(kept).reduce(0, +))
        let numbers: [String: Double] = [
            "norm": all.squareRoot(), "retained_energy": all > 0 ? 1 - lost / all : 1,
            "relative_error": all > 0 ? (lost / all).squareRoot() : 0,
            "largest_error": wanted.dropFirst(kept).first ?? 0,
        ]
        for (key, number) in numbers {
            let own = try #require(entry[key] as? Double)
            #expect(abs(own - number) <= 1e-7 * max(1, number), "\(path) \(key): \(own) instead of \(number)")
        }
        #expect(entry["rank"] as? Int == kept, "\(path)")
        #expect(entry["exact"] as? Bool == (lost == 0), "\(path)")
        // Of equal values any may be kept, so only where they differ is the delta determined.
        guard kept == 0 || kept == values.count || wanted[kept - 1] > wanted[kept] else { return }
        let delta = try #require(found.delta(path), "\(path)")
        let exact = Matrix.diagonal(Self.out, Self.into, Array(wanted.prefix(kept)))
        #expect(delta.distance(to: exact) <= 1e-6 * exact.largest, "\(path)")
    }

    @Test(arguments: [1, 2, 3]) func aRankForAll(_ rank: Int) throws {
        let scratch = try Scratch()
        let path = try made(in: scratch, alpha: 12)
        for (method, operands, scale) in [("resize", [path], 3.0), ("svd", [path + ":-2"], 6)] {
            let answer = Tools.combine(method, operands, scratch(method), "--rank", "\(rank)", "--json")
            #expect(answer.status == 0, "\(answer.err)")
            let (document, found) = try (answer.json(), WrittenAdapter(scratch(method)))
            #expect(document["rank"] as? Int == rank && document["scale"] as? Double == 1)
            #expect(found.config["r"] as? Int == rank && found.config["lora_alpha"] as? Int == rank)
            for (path, values) in Self.spectra where path != "layers.3.q_proj" {
                guard method == "resize" else {
                    #expect(facts(document, path)["rank"] as? Int == rank)
                    continue
                }
                try expect(document, found, path, values, kept: rank, scale: scale)
            }
            for half in ["A", "B"] {
                let tensor = try #require(found.tensors[Pair.key("layers.3.q_proj", half)])
                #expect(tensor.shape == (half == "A" ? [rank, Self.into] : [Self.out, rank]))
                #expect(tensor.bytes.allSatisfy { $0 == 0 })
            }
            try expect(document, found, "layers.3.q_proj", [0, 0, 0, 0], kept: 0)
        }
    }

    /// Each module's own rank by energy, by ratio, and by both with a limit.
    static let truncations: [(options: [String], kept: [Int])] = [
        // 64, 80, 84, 85 of 85; 9 each of 36; 10000 of 10001.3125.
        (["--energy", "0.75"], [1, 3, 1, 0]), (["--energy", "0.9"], [2, 4, 1, 0]),
        (["--energy", "0.99"], [4, 4, 1, 0]),
        (["--energy", "1"], [4, 4, 4, 0]), (["--ratio", "4"], [3, 4, 1, 0]), (["--ratio", "1"], [1, 4, 1, 0]),
        (["--energy", "0.99", "--ratio", "2"], [2, 4, 1, 0]), (["--energy", "0.9", "--rank", "3"], [2, 3, 1, 0]),
    ]

    @Test(arguments: truncations) func aRankForEach(_ options: [String], _ kept: [Int]) throws {
        let scratch = try Scratch()
        let path = try made(in: scratch)
        let line = ["resize", path, "--json", "-o"]
        let answer = Tools.run("adapter-combine", line + [scratch("own"), "--per-module"] + options)
        #expect(answer.status == 0, "\(answer.err)")
        let found = try WrittenAdapter(scratch("own"))
        for ((path, values), count) in zip(Self.spectra, kept) {
            try expect(answer.json(), found, path, values, kept: count)
            #expect(found.tensors[Pair.key(path, "A")]?.shape == [max(1, count), Self.into])
            #expect(found.delta(path) != nil, "\(path): its patterns say another rank")
        }
        // Without the option all have the largest rank; a module that needs less may keep less and is padded.
        let padded = Tools.run("adapter-combine", line + [scratch("all")] + options)
        let all = try WrittenAdapter(scratch("all"))
        let largest = kept.max() ?? 0
        #expect(all.config["r"] as? Int == largest)
        #expect(same(all.config["rank_pattern"] as? [String: Any] ?? ["": 0], [:]))
        for ((path, _), count) in zip(Self.spectra, kept) {
            #expect(all.tensors[Pair.key(path, "A")]?.shape == [largest, Self.into])
            let rank = try #require(facts(try padded.json(), path)["rank"] as? Int)
            #expect(rank >= count && rank <= largest, "\(path)")
        }
    }

    @Test func enoughRankLeavesTheFactorsAsTheyAre() throws {
        let scratch = try Scratch()
        var random = SeededRandom(test: "enoughRankLeavesTheFactorsAsTheyAre")
        let a = Factors.random(["layers.0.q_proj"], out: 7, into: 6, rank: 3, alpha: 6, &random)
        let path = try a.write(as: "a", in: scratch)
        for (method, name) in [("resize", "resized"), ("svd", "approximated"), ("linear", "summed")] {
            let options = method == "linear" ? [] : ["--rank", "9"]
            let answer = Tools.run("adapter-combine", [method, path, "--json", "-o", scratch(name)] + options)
            #expect(answer.status == 0, "\(answer.err)")
            #expect(try tensors(in: scratch(name)) == tensors(in: path))
            let found = try WrittenAdapter(scratch(name))
            #expect(found.config["r"] as? Int == 3 && found.config["lora_alpha"] as? Int == 6)
            let entry = facts(try answer.json(), "layers.0.q_proj")
            #expect(entry["relative_error"] as? Double == 0 && entry["retained_energy"] as? Double == 1)
            #expect(entry["exact"] as? Bool == true)
        }
    }

    /// Deltas that share directions add up there, and the sum's rank is smaller than all ranks together.
    @Test func sumsOfDiagonals() throws {
        let scratch = try Scratch()
        let first = try Factors([Self.diagonal("q_proj", [5, 2, 1])], alpha: 3).write(as: "a", in: scratch)
        let second = try Factors([Self.diagonal("q_proj", [3, 2, 2])], alpha: 6).write(as: "b", in: scratch)
        // 5 + 2·3·1.5, 2 + 2·2·1.5, 1 + 2·2·1.5
        let sum = [14.0, 8, 7]
        let operands = [first, second + ":1.5"]
        for rank in 1...5 {
            let answer = Tools.combine("svd", operands, scratch("svd\(rank)"), "--rank", "\(rank)", "--json")
            #expect(answer.status == 0, "\(answer.err)")
            let found = try WrittenAdapter(scratch("svd\(rank)"))
            try expect(answer.json(), found, "q_proj", sum, kept: min(rank, 3))
            #expect(facts(try answer.json(), "q_proj")["rank_in"] as? Int == 6)
        }
        // linear has the rank of the largest adapter, which is enough here.
        let linear = Tools.combine("linear", operands, scratch("linear"), "--json")
        try expect(linear.json(), WrittenAdapter(scratch("linear")), "q_proj", sum, kept: 3)
        let less = Tools.combine("linear", operands, scratch("less"), "--rank", "2", "--json")
        try expect(less.json(), WrittenAdapter(scratch("less")), "q_proj", sum, kept: 2)
    }
}
