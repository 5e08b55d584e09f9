import Fixtures
import Testing

/// The bytes of combined and extracted adapters depend on the inputs and options only.
@Suite struct CombineDeterminismTests {
    private static let golden = ["all-linear-sharded-f32", "patterns-regex-bf16"].map { Golden.path($0) + "/adapter" }
    private static let experts = ["gpt-oss-both-f32", "gpt-oss-one-bf16"].map { Golden.path($0) + "/adapter" }

    static let methods: [[String]] = [
        ["stack"], ["svd", "--rank", "3"], ["svd", "--energy", "0.8", "--per-module"], ["linear"],
        ["ties", "--density", "0.4"], ["dare-ties", "--density", "0.4", "--on", "deltas", "--seed", "9"],
        ["dare-linear", "--density", "0.4", "--on", "factors"], ["magnitude-prune", "--density", "0.3"],
    ]

    @Test(arguments: methods) func combinations(_ method: [String]) throws {
        let options = Array(method.dropFirst())
        for adapters in [Self.golden, Self.experts] {
            // Factors of different ranks cannot be added.
            if options.contains("factors"), adapters == Self.golden { continue }
            try check("adapter-combine", [method[0], adapters[0], adapters[1] + ":-0.7"] + options)
        }
    }

    /// Large enough that the sparse deltas are seen through sketches and in several blocks of rows.
    @Test(arguments: [["ties"], ["dare-ties"]]) func sketches(_ method: [String]) throws {
        let scratch = try Scratch()
        var random = SeededRandom(test: "sketches")
        let adapters = try ["a", "b"].map { name in
            try Factors.random(["layers.0.q_proj"], out: 700, into: 600, rank: 4, &random).write(as: name, in: scratch)
        }
        try check("adapter-combine", method + adapters + ["--density", "0.3", "--rank", "5"])
    }

    @Test(arguments: ["linear-qv-f32", "gpt-oss-both-f32", "conv2d-f32"]) func extraction(_ name: String) throws {
        let scratch = try Scratch()
        let golden = try Golden.Case(name)
        try #require(Tools.merge(golden.base, golden.adapters, scratch("tuned")).status == 0)
        try check("adapter-extract", [golden.base, scratch("tuned"), "--rank", "3"])
        try check("adapter-extract", [golden.base, scratch("tuned"), "--energy", "0.7", "--per-module", "--seed", "8"])
    }

    @Test func extractionOfALargeMatrix() throws {
        let scratch = try Scratch()
        var random = SeededRandom(test: "extractionOfALargeMatrix")
        let paths = try ["base", "tuned"].map { name in
            let weight = Matrix.random(280, 300, &random)
            let tensor = TensorFile.Tensor(
                "layers.0.q_proj.weight", "F32", [weight.rows, weight.columns], weight.values)
            return try scratch.write(name + ".safetensors", TensorFile([tensor]).encoded)
        }
        try check("adapter-extract", paths + ["--rank", "6"])
    }

    private func check(_ tool: String, _ arguments: [String]) throws {
        let scratch = try Scratch()
        let first = Tools.run(tool, arguments + ["-o", scratch("first")])
        try #require(first.status == 0, "\(first.err)")
        let wanted = contents(of: scratch("first"))
        #expect(wanted.keys.sorted() == ["adapter_config.json", "adapter_model.safetensors"])
        let ways: [(options: [String], environment: [String: String])] = [
            ([], [:]), (["--threads", "1"], [:]), (["--threads", "2"], [:]), (["--threads", "5"], [:]),
            ([], ["ADAPTERKIT_CPU": "baseline"]), ([], ["ADAPTERKIT_CPU": "v3"]), ([], ["ADAPTERKIT_CPU": "v4"]),
            ([], ["LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu"]),
        ]
        for (at, way) in ways.enumerated() {
            let name = scratch("other\(at)")
            let answer = Tools.run(
                tool, arguments + ["-o", name] + way.options, environment: way.environment)
            #expect(answer.status == 0, "\(answer.err)")
            #expect(contents(of: name) == wanted, "\(arguments) \(way) must give the same bytes")
        }
    }
}
