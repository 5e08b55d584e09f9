import Fixtures
import Testing

/// The output's bytes depend on the inputs and options only.
@Suite struct DeterminismTests {
    /// Cases that take different ways through the merge: both kernels, DoRA by rows and by columns, experts, shards,
    /// 8-bit floats, several adapters, new tensors.
    static let cases = [
        "all-linear-sharded-bf16", "linear-qv-f16", "linear-qv-f64", "dora-conv2d-f32", "dora-embedding-f32",
        "gpt-oss-both-bf16", "gpt2-f32", "fp8-block", "two-adapters-bf16", "tied-both-different-bf16",
        "resized-vocabulary-bf16", "tokens-dict-bf16",
    ]

    @Test(arguments: cases) func golden(_ name: String) throws {
        let golden = try Golden.Case(name)
        try check(golden.base, golden.adapters)
        try check(golden.base, golden.adapters, "--digests", "--dtype", "float32", "--max-shard-size", "8KiB")
    }

    @Test(arguments: ["law", "scripture"]) func example(_ name: String) throws {
        let data = Golden.root + "/examples/data"
        try #require(exists(data))
        try check(data + "/base", ["\(data)/adapter-\(name)"], "--digests")
        try check(data + "/base", ["\(data)/adapter-law:0.75", "\(data)/adapter-scripture:-0.5"])
    }

    private func check(_ base: String, _ adapters: [String], _ options: String...) throws {
        let scratch = try Scratch()
        let first = Tools.run("adapter-merge", [base] + adapters + ["-o", scratch("first")] + options)
        try #require(first.status == 0, "\(first.err)")
        let wanted = contents(of: scratch("first"))
        #expect(wanted.count > 1)
        let ways: [(options: [String], environment: [String: String])] = [
            ([], [:]), (["--threads", "1"], [:]), (["--threads", "2"], [:]), (["--threads", "5"], [:]),
            ([], ["ADAPTERKIT_CPU": "baseline"]), ([], ["ADAPTERKIT_CPU": "v3"]), ([], ["ADAPTERKIT_CPU": "v4"]),
            ([], ["LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu"]),
        ]
        for (at, way) in ways.enumerated() {
            let name = scratch("other\(at)")
            let arguments = [base] + adapters + ["-o", name] + options + way.options
            let answer = Tools.run("adapter-merge", arguments, environment: way.environment)
            #expect(answer.status == 0, "\(answer.err)")
            #expect(contents(of: name) == wanted, "\(way) must give the same bytes")
        }
    }
}
