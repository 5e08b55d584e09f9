import Fixtures
import Foundation
import Testing

/// A merge with a record is the same merge, and can be taken back to the last byte without the base.
@Suite struct UndoTests {
    @Test(arguments: Golden.cases) func golden(_ golden: Golden.Case) throws {
        let sample = try UndoSample(golden.base, golden.adapters)
        try sample.check(golden.name)
        let plain = Tools.run("adapter-merge", [golden.base] + golden.adapters + ["-o", sample.scratch("plain")])
        #expect(plain.status == 0, "\(plain.err)")
        #expect(contents(of: sample.scratch("merged")) == contents(of: sample.scratch("plain")), "--undo changes it")
    }

    private static let various = [
        "all-linear-sharded-bf16", "dora-linear-bf16", "fp8-block", "tied-resized-bf16", "two-adapters-f32",
    ]
    private static let settings: [[String]] = [
        ["--dtype", "float32"], ["--dtype", "float16", "--max-shard-size", "8KiB"], ["--digests", "--undo-by-name"],
    ]

    @Test(arguments: various, settings) func underOptions(_ name: String, _ options: [String]) throws {
        let golden = try Golden.Case(name)
        let sample = try UndoSample(golden.base, golden.adapters, options + ["--allow", "overflow"])
        let isByName = options.contains("--undo-by-name")
        let paths = golden.adapters.map { $0.split(separator: ":").first.map(String.init) ?? "" }
        try sample.check("\(name) \(options)", isByName ? paths.flatMap { ["--adapter", $0] } : [])
    }

    /// The record's bytes and the base that comes back depend on the inputs only.
    @Test(arguments: ["all-linear-sharded-bf16", "linear-qv-f16", "dora-conv2d-f32", "fp8-block"])
    func determinism(_ name: String) throws {
        let golden = try Golden.Case(name)
        let sample = try UndoSample(golden.base, golden.adapters)
        let wanted = try bytes(of: sample.scratch("undo"))
        let ways: [(options: [String], environment: [String: String])] = [
            (["--threads", "1"], [:]), (["--threads", "5"], ["LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu"]),
            ([], ["ADAPTERKIT_CPU": "baseline"]), ([], ["ADAPTERKIT_CPU": "v3"]),
        ]
        for (at, way) in ways.enumerated() {
            let (out, record) = (sample.scratch("merged\(at)"), sample.scratch("undo\(at)"))
            let made = Tools.run(
                "adapter-merge", [golden.base] + golden.adapters + ["-o", out, "--undo", record] + way.options,
                environment: way.environment)
            #expect(made.status == 0, "\(made.err)")
            #expect(try bytes(of: record) == wanted, "\(way) must give the same record")
            let back = Tools.run(
                "adapter-unmerge",
                [sample.scratch("merged"), "--undo", sample.scratch("undo"), "-o", sample.scratch("back\(at)")]
                    + way.options, environment: way.environment)
            #expect(back.status == 0, "\(way): \(back.err)")
            #expect(contents(of: sample.scratch("back\(at)")) == sample.wanted, "\(way)")
        }
    }

    /// Everything else that may lie in a base's directory.
    @Test func directories() throws {
        let scratch = try Scratch()
        let golden = try Golden.Case("all-linear-sharded-bf16")
        let base = try scratch.copy(golden.base, as: "base")
        let files: [String: String] = [
            ".hidden": "hidden", "pytorch_model.bin": String(repeating: "old weights ", count: 900),
            "SHA256SUMS": "0  config.json\n", "tokenizer.json": "{}", "empty": "", "deep/down/file": "x",
            "deep/model.safetensors": "not a model", "original/.keep": "", "é/naïve.txt": "ü",
            "generation_config.json": "{\n}\n", "README.md": "# A base\n",
        ]
        for (name, text) in files { try scratch.write("base/" + name, text) }
        for name in ["nothing", "deep/nothing", ".cache/a"] { try scratch.directory("base/" + name) }
        try UndoSample(base, golden.adapters).check()
        try UndoSample(base, golden.adapters, ["--digests", "--dtype", "float32"]).check("digests")
    }

    /// Links are restored as what they lead to.
    @Test func links() throws {
        let scratch = try Scratch()
        let golden = try Golden.Case("linear-qv-bf16")
        _ = try scratch.copy(golden.base, as: "store")
        try scratch.directory("base/sub")
        try scratch.link("base/model.safetensors", to: "../store/model.safetensors")
        try scratch.link("base/config.json", to: "../store/config.json")
        try scratch.link("base/sub/again", to: "../../store")
        let sample = try UndoSample(scratch("base"), golden.adapters)
        let answer = Tools.unmerge(sample.scratch("merged"), sample.scratch("undo"), sample.scratch("back"))
        #expect(answer.status == 0, "\(answer.err)")
        let found = contents(of: sample.scratch("back"))
        #expect(found["sub/again/model.safetensors"] == sample.wanted["model.safetensors"])
        for name in ["config.json", "model.safetensors"] { #expect(found[name] == sample.wanted[name]) }
    }

    /// What a record cannot hold is said when it is written.
    @Test func whatIsNotHeld() throws {
        let scratch = try Scratch()
        let (base, adapter) = try Pair().write(in: scratch)
        try scratch.write("base/back\\slash", "x")
        _ = Tools.shell("mkfifo \"$1/pipe\"; ln -s . \"$1/loop\"", base)
        let answer = Tools.merge(base, [adapter], scratch("out"), "--undo", scratch("undo"))
        #expect(answer.status == 0, "\(answer.err)")
        let why = "so the undo record does not hold it: it will be missing in what adapter-unmerge restores"
        let warnings = answer.warnings.filter { $0.hasSuffix(why) }
        #expect(warnings.count == 3, "\(answer.err)")
        for name in ["back\\", "pipe", "loop"] {
            #expect(warnings.contains { $0.contains("\(base)/\(name)") }, "\(name): \(answer.err)")
        }
        let back = Tools.unmerge(scratch("out"), scratch("undo"), scratch("back"))
        #expect(back.status == 0, "\(back.err)")
        #expect(Golden.names(in: scratch("back")) == ["config.json", "model.safetensors"])
    }

    /// Of a base that is one file, that file comes back, whatever it is called.
    @Test(arguments: ["linear-qv-bf16", "tied-head-f32", "fp8-tensor", "gpt2-bf16"]) func singleFiles(_ name: String)
        throws
    {
        let golden = try Golden.Case(name)
        let scratch = try Scratch()
        let base = try scratch.copy(golden.base, as: "base") + "/model.safetensors"
        let wanted = try bytes(of: base)
        let (out, record) = (scratch("out.safetensors"), scratch("undo"))
        let made = Tools.run("adapter-merge", [base] + golden.adapters + ["-o", out, "--undo", record])
        try #require(made.status == 0, "\(made.err)")
        _ = Tools.shell("rm -r \"$1\"", scratch("base"))
        let wrong = Tools.unmerge(out, record, scratch("directory"))
        #expect(wrong.status == 64 && wrong.errors.first?.contains("is a directory, but the base was one file") == true)
        let back = Tools.unmerge(out, record, scratch("any name.safetensors"))
        #expect(back.status == 0, "\(back.err)")
        #expect(try bytes(of: scratch("any name.safetensors")) == wanted)
        #expect(scratch.names == ["any name.safetensors", "out.safetensors", "undo"])
    }

    /// Headers that no library writes: spaces, another order, odd metadata, tensors of no bytes, several dtypes.
    @Test func oddHeaders() throws {
        let scratch = try Scratch()
        var pair = Pair()
        pair.base.insert(TensorFile.Tensor("none", "F32", [0, 4], bytes: []), at: 3)
        pair.base.append(TensorFile.Tensor("scalar", "I64", [], bytes: Array(0..<8)))
        pair.base.append(TensorFile.Tensor("flags", "BOOL", [5], bytes: [0, 1, 1, 0, 1]))
        pair.base.append(TensorFile.Tensor("last", "U8", [0], bytes: []))
        let (base, adapter) = try pair.write(in: scratch)
        var file = TensorFile(pair.base, metadata: ["format": "pt", "é": "\"\n", "": ""]).encoded
        // Spaces that nobody needs, behind the opening brace.
        let length = file[..<8].reversed().reduce(0) { $0 << 8 | Int($1) } + 11
        file.insert(contentsOf: Array(repeating: 0x20, count: 11), at: 9)
        for at in 0..<8 { file[at] = UInt8(truncatingIfNeeded: length >> (8 * at)) }
        try write(file, to: base + "/model.safetensors")
        try UndoSample(base, [adapter]).check()
        try UndoSample(base, [adapter], ["--dtype", "float16", "--max-shard-size", "300"]).check("cast and cut")
    }

    /// A packed base and packed adapters: the directory that the archive holds comes back.
    @Test func archives() throws {
        let golden = try Golden.Case("all-linear-sharded-bf16")
        let scratch = try Scratch()
        for (from, to) in [(golden.base, "base.packed"), (golden.path + "/adapter", "adapter.packed")] {
            try #require(Tools.pack(from, scratch(to)).status == 0)
        }
        for options in [[], ["--undo-by-name"]] {
            let (out, record) = (scratch("out\(options.count)"), scratch("undo\(options.count)"))
            let made = Tools.run(
                "adapter-merge",
                [scratch("base.packed"), scratch("adapter.packed"), "-o", out, "--undo", record] + options)
            try #require(made.status == 0, "\(made.err)")
            let given = options.isEmpty ? [] : ["--adapter", golden.path + "/adapter"]
            let back = Tools.run(
                "adapter-unmerge", [out, "--undo", record, "-o", scratch("back\(options.count)")] + given)
            #expect(back.status == 0, "\(back.err)")
            #expect(contents(of: scratch("back\(options.count)")) == contents(of: golden.base))
        }
    }

    /// A merge of a merge is taken back step by step, and the merged model may be packed in between.
    @Test func twice() throws {
        let golden = try Golden.Case("linear-qv-bf16")
        let first = try UndoSample(golden.base, golden.adapters)
        let second = try UndoSample(first.scratch("merged"), golden.adapters.map { $0 + ":-1" })
        try second.check("second")
        try first.check("first")
        try #require(Tools.pack(first.scratch("merged"), first.scratch("packed")).status == 0)
        let answer = Tools.unmerge(first.scratch("packed"), first.scratch("undo"), first.scratch("back"))
        #expect(answer.status == 0, "\(answer.err)")
        #expect(contents(of: first.scratch("back")) == first.wanted)
    }

    /// Weights of any bits at all, NaNs and infinities among them, come back as they were.
    @Test(arguments: ["BF16", "F16", "F32", "F64"]) func anyBits(_ dtype: String) throws {
        var random = SeededRandom(test: "anyBits \(dtype)")
        var pair = Pair(dtype: dtype)
        for at in pair.base.indices { pair.base[at].bytes = random.bytes(pair.base[at].bytes.count) }
        let allowed = ["non-finite", "overflow", "zero-delta"].flatMap { ["--allow", $0] }
        try UndoSample(pair: pair, options: allowed).check(dtype)
    }

    /// Shards in which nothing changes are the base's own files, header included; the others say where they come from.
    @Test func untouchedShards() throws {
        let scratch = try Scratch()
        let base = try scratch.copy(Golden.path("all-linear-sharded-bf16") + "/base", as: "base")
        let adapter = Golden.path("linear-qv-bf16") + "/adapter"
        let sample = try UndoSample(base, [adapter])
        let merged = contents(of: sample.scratch("merged"))
        let changed = try tensors(in: base).filter { try tensors(in: sample.scratch("merged"))[$0.key] != $0.value }
        var (same, others) = (0, 0)
        for name in Golden.names(in: base) where name.hasSuffix(".safetensors") {
            let file = try TensorFile(path: sample.scratch("merged/\(name)"))
            let isUntouched = file.tensors.allSatisfy { changed[$0.name] == nil }
            if isUntouched { same += 1 } else { others += 1 }
            #expect((merged[name] == sample.wanted[name]) == isUntouched, "\(name)")
            #expect((file.metadata["adapterkit.adapters"] == nil) == isUntouched, "\(name)")
        }
        #expect(same > 0 && others > 0, "\(same) \(others)")
        try sample.check()
    }
}
