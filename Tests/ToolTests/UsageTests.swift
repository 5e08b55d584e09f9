import Fixtures
import Foundation
import Testing

/// Command lines: weights, what is refused, and what is said of it.
@Suite struct UsageTests {
    private static let golden = Golden.path("linear-qv-bf16")
    private static let (base, adapter) = (golden + "/base", golden + "/adapter")

    @Test(
        arguments: [
            (["BASE", "ADAPTER"], "there is no output", "name it with -o OUT"),
            (["BASE", "ADAPTER", "-o"], "option '-o' needs a value (OUT)", "'adapter-merge --help' lists the options"),
            (["BASE", "-o", "OUT"], "ADAPTER is missing", "usage: adapter-merge BASE ADAPTER[:WEIGHT]... -o OUT"),
            (["BASE", "ADAPTER", "--ouput", "OUT"], "there is no option '--ouput'", "did you mean '--output'?"),
            (
                ["BASE", "ADAPTER", "-o", "OUT", "--dtype", "bfloat"],
                "option '--dtype' is 'bfloat', but must be one of: float64, float32, float16, bfloat16, f64, f32, f16, bf16",
                "did you mean 'bfloat16'?"
            ),
            (
                ["BASE", "ADAPTER", "-o", "OUT", "--threads", "0"],
                "option '--threads' is '0', but must be a whole number from 1 to 1024", nil
            ),
            (
                ["BASE", "ADAPTER", "-o", "OUT", "--max-shard-size", "5Gb"],
                "option '--max-shard-size' is '5Gb', but must be a size",
                "write 5000, 500MB or 5GB (powers of 1000), or 5GiB (of 1024)"
            ),
            (
                ["BASE", "ADAPTER:half", "-o", "OUT"], "'half' in 'ADAPTER:half' is no number, but a weight was needed",
                "write PATH:WEIGHT, as in style:0.5 or style:-1"
            ),
            (
                ["BASE", "ADAPTER", "-o", "OUT", "--allow", "everything"],
                "option '--allow' is 'everything', but must be one of: base-changed, bound-config, bound-tensor, non-finite, not-targeted, overflow, unknown-config-field, unused-pattern, zero-delta",
                "'adapter-merge --help' lists the options"
            ),
        ] as [([String], String, String?)])
    func refused(_ line: [String], _ message: String, _ hint: String?) throws {
        let scratch = try Scratch()
        let place = { (word: String) in
            word.replacingOccurrences(of: "BASE", with: Self.base).replacingOccurrences(
                of: "ADAPTER", with: Self.adapter
            )
            .replacingOccurrences(of: "OUT", with: scratch("out"))
        }
        let answer = Tools.run("adapter-merge", line.map(place))
        #expect(answer.status == 64)
        let wanted = message.replacingOccurrences(of: "'ADAPTER:half'", with: "'\(Self.adapter):half'")
        #expect(answer.errors == ["adapter-merge: error: " + wanted])
        #expect(answer.hints == (hint.map { ["hint: " + $0] } ?? answer.hints))
        #expect(answer.out.isEmpty)
        #expect(scratch.names.isEmpty)
    }

    @Test func weights() throws {
        let scratch = try Scratch()
        let none = Tools.merge(Self.base, [Self.adapter + ":0"], scratch("none"))
        #expect(none.status == 1)
        #expect(
            none.errors == [
                "adapter-merge: error: \(Self.adapter): changes nothing: a merged model would be no different from the base"
            ])
        #expect(scratch.names.isEmpty)
        let two = try Golden.Case("two-adapters-bf16")
        let second = two.path + "/adapter2"
        #expect(Tools.merge(two.base, [second], scratch("alone")).status == 0)
        #expect(Tools.merge(two.base, [two.path + "/adapter:0", second], scratch("both")).status == 0)
        #expect(try tensors(in: scratch("both")) == tensors(in: scratch("alone")))
        // A weight of 0 also silences what an adapter would replace.
        let silent = Golden.path("saved-head-bf16") + "/adapter:0"
        #expect(Tools.merge(two.base, [silent, second], scratch("silent")).status == 0)
        #expect(try tensors(in: scratch("silent")) == tensors(in: scratch("alone")))
        let same = Tools.verify(two.base, silent, second, options: ["--merged", scratch("silent")])
        #expect(same.status == 0, "\(same.err)")
        let options = ["--merged", scratch("both")]
        let verified = Tools.verify(two.base, two.path + "/adapter:0", second, options: options)
        #expect(verified.status == 0, "\(verified.err)")
    }

    @Test func weightsAddUpBeforeTheOneRounding() throws {
        let scratch = try Scratch()
        let base = try tensors(in: Self.base)
        let exact = try TensorFile(path: Self.golden + "/expected.safetensors")
        #expect(Tools.merge(Self.base, [Self.adapter + ":0.5", Self.adapter + ":-1.75"], scratch("out")).status == 0)
        let found = try tensors(in: scratch("out"))
        for tensor in exact.tensors {
            let before = try #require(base[tensor.name]?.values)
            let values = zip(before, tensor.values).map { $0 + ($1 - $0) * -1.25 }
            let wanted = TensorFile.Tensor(tensor.name, "BF16", tensor.shape, values)
            #expect(found[tensor.name]?.values == wanted.values, "\(tensor.name)")
        }
    }

    @Test func aPathThatExistsWinsOverAWeight() throws {
        let scratch = try Scratch()
        let adapter = try scratch.copy(Self.adapter, as: "style:0.5")
        #expect(Tools.merge(Self.base, [adapter], scratch("whole")).status == 0)
        #expect(Tools.merge(Self.base, [adapter + ":1"], scratch("also")).status == 0)
        #expect(Tools.merge(Self.base, [Self.adapter], scratch("plain")).status == 0)
        #expect(try tensors(in: scratch("whole")) == tensors(in: scratch("plain")))
        #expect(try tensors(in: scratch("also")) == tensors(in: scratch("plain")))
        let metadata = try TensorFile(path: scratch("whole/model.safetensors")).metadata
        #expect(metadata["adapterkit.adapters"]?.contains(#""name":"style:0.5""#) == true)
    }

    @Test func missingInputs() throws {
        let scratch = try Scratch()
        let base = Tools.merge(scratch("no-base"), [Self.adapter], scratch("out"))
        #expect(base.status == 66)
        #expect(base.errors == ["adapter-merge: error: \(scratch("no-base")): does not exist"])
        let adapter = Tools.merge(Self.base, [scratch("no-adapter:0.5")], scratch("out"))
        #expect(adapter.status == 66)
        #expect(adapter.errors.count == 1)
        let swapped = Tools.merge(Self.adapter, [Self.base], scratch("out"))
        #expect(swapped.status == 66, "\(swapped.err)")
        #expect(swapped.hints.contains("hint: this looks like a model; the order is: BASE first, then the adapter"))
        let sharded = try scratch.copy(Golden.path("all-linear-sharded-bf16") + "/base", as: "base")
        try FileManager.default.removeItem(atPath: sharded + "/model-00002-of-00003.safetensors")
        let shard = Tools.merge(sharded, [Golden.path("all-linear-sharded-bf16") + "/adapter"], scratch("out"))
        #expect(shard.status == 66)
        #expect(shard.errors.count == 1, "\(shard.err)")
        #expect(shard.errors.first?.contains("model-00002-of-00003.safetensors: is missing") == true)
        let config = try scratch.copy(Self.adapter, as: "adapter")
        try FileManager.default.removeItem(atPath: config + "/adapter_config.json")
        #expect(Tools.merge(Self.base, [config], scratch("out")).status == 66)
        #expect(scratch.names == ["adapter", "base"])
    }

    @Test func allow() throws {
        let scratch = try Scratch()
        var pair = Pair()
        pair.config["alpha_pattern"] = ["nothing_proj": 4]
        pair.config["use_moonlight"] = true
        pair.config["target_modules"] = ["q_proj", "k_proj", "v_proj"]
        let (base, adapter) = try pair.write(in: scratch)
        let codes = ["not-targeted", "unknown-config-field", "unused-pattern"]
        for left in codes.indices {
            let allowed = codes.enumerated().filter { $0.offset != left }.flatMap { ["--allow", $0.element] }
            let answer = Tools.run("adapter-merge", [base, adapter, "-o", scratch("out"), "--json"] + allowed)
            #expect(answer.status == 1, "\(answer.err)")
            let problems = try #require(answer.json()["problems"] as? [[String: Any]])
            let errors = problems.filter { $0["severity"] as? String == "error" }
            #expect(Set(errors.compactMap { $0["code"] as? String }) == [codes[left]])
            #expect(!exists(scratch("out")))
        }
        let all = Tools.run(
            "adapter-merge", [base, adapter, "-o", scratch("out")] + codes.flatMap { ["--allow", $0] })
        #expect(all.status == 0, "\(all.err)")
        #expect(all.errors.isEmpty)
        #expect(all.warnings.count == 4, "\(all.err)")
        #expect(Tools.merge(base, [try Pair().writeAdapter(as: "plain", in: scratch)], scratch("same")).status == 0)
        #expect(try tensors(in: scratch("out")) == tensors(in: scratch("same")))
    }

    @Test func helpAndVersion() {
        for tool in ["adapter-verify", "adapter-merge"] {
            let help = Tools.run(tool, ["--help"])
            #expect(help.status == 0)
            #expect(help.out.hasPrefix(tool + ": "))
            #expect(help.err.isEmpty)
            let version = Tools.run(tool, ["--version"])
            #expect(version.status == 0)
            #expect(version.out.hasPrefix(tool + " "))
            #expect(version.out.contains("CPU level: "))
        }
    }

    @Test func namesFromFilesAreMadeHarmless() throws {
        let scratch = try Scratch()
        var pair = Pair()
        pair.adapter.append(
            TensorFile.Tensor("base_model.model.\u{1B}[31mred\u{7}\u{202E}.lora_A.weight", "F32", [1], [1]))
        let (base, adapter) = try pair.write(in: scratch)
        for answer in [
            Tools.verify(base, adapter), Tools.verify(base, adapter, options: ["--json"]),
            Tools.merge(base, [adapter], scratch("out")),
        ] {
            #expect(answer.status == 1)
            for text in [answer.out, answer.err] {
                #expect(!text.utf8.contains { $0 < 0x20 && $0 != 0x0A })
                #expect(!text.unicodeScalars.contains("\u{202E}"))
            }
        }
    }
}
