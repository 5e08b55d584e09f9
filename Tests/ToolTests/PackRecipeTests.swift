import Fixtures
import Foundation
import Testing

/// Merged models that are packed as the adapters that make them.
@Suite struct PackRecipeTests {
    /// What is merged, and with what; the weights are written as a user writes them.
    private static let cases: [(name: String, adapters: [String], options: [String])] = [
        ("linear-qv-bf16", ["adapter"], []), ("linear-qv-bf16", ["adapter:0.5"], []),
        ("linear-qv-bf16", ["adapter:-1.25"], []), ("two-adapters-f32", ["adapter", "adapter2:0.3"], []),
        ("all-linear-sharded-bf16", ["adapter"], []), ("dora-linear-bf16", ["adapter"], []),
        ("all-linear-sharded-bf16", ["adapter"], ["--max-shard-size", "8KiB"]),
        ("saved-head-bf16", ["adapter"], []), ("tokens-dict-bf16", ["adapter"], []),
    ]

    @Test(arguments: cases.indices) func roundTrip(_ number: Int) throws {
        let (name, adapters, options) = Self.cases[number]
        let scratch = try Scratch()
        let base = Golden.path(name) + "/base"
        let operands = adapters.map { Golden.path(name) + "/" + $0 }
        let merge = Tools.run("adapter-merge", [base] + operands + ["-o", scratch("merged")] + options)
        try #require(merge.status == 0, "\(merge.err)")
        let flags = operands.flatMap { ["--adapter", $0] }
        let answer = Tools.run(
            "adapter-pack", [scratch("merged"), "-o", scratch("packed"), "--base", base, "--json"] + flags)
        try #require(answer.status == 0, "\(answer.err)")
        #expect(answer.warnings.isEmpty, "\(answer.err)")
        let parts = try #require(answer.json()["parts"] as? [String: Int])
        #expect((parts["merged"] ?? 0) > 0 && parts["differences"] == 0, "\(parts)")
        try check(scratch, base, inputs: 2 * adapters.count)
    }

    private func check(_ scratch: Scratch, _ base: String, inputs: Int) throws {
        let document = try Tools.listing(scratch("packed"))
        #expect(document["recipe"] as? Bool == true)
        let files = try #require(document["files"] as? [[String: Any]])
        let paths = files.filter { $0["input"] as? Bool == true }.compactMap { $0["path"] as? String }
        #expect(paths.count == inputs && paths.allSatisfy { $0.hasPrefix("//input/") }, "\(paths)")
        let answer = Tools.unpack(scratch("packed"), scratch("out"), "--base", base)
        #expect(answer.status == 0, "\(answer.err)")
        #expect(contents(of: scratch("out")) == contents(of: scratch("merged")))
        let test = Tools.run("adapter-unpack", [scratch("packed"), "--test", "--base", base])
        #expect(test.status == 0 && test.out.contains(": sound: \(files.count) files, "), "\(test.out) \(test.err)")
        #expect(scratch.names == ["merged", "out", "packed"])
    }

    /// A merge that also casts is made by a recipe, too: what it names may have another size than the base's tensor.
    @Test(arguments: [("linear-qv-f32", "bfloat16"), ("linear-qv-bf16", "float32")])
    func castModels(_ name: String, _ dtype: String) throws {
        let scratch = try Scratch()
        let (base, adapter) = (Golden.path(name) + "/base", Golden.path(name) + "/adapter")
        try #require(Tools.merge(base, [adapter], scratch("merged"), "--dtype", dtype).status == 0)
        let answer = Tools.pack(scratch("merged"), scratch("packed"), "--base", base, "--adapter", adapter, "--json")
        try #require(answer.status == 0, "\(answer.err)")
        let parts = try #require(answer.json()["parts"] as? [String: Int])
        #expect((parts["merged"] ?? 0) > 0, "\(parts)")
        #expect(Tools.unpack(scratch("packed"), scratch("out"), "--base", base).status == 0)
        #expect(contents(of: scratch("out")) == contents(of: scratch("merged")))
    }

    private func sample(_ scratch: Scratch) throws -> (base: String, adapter: String) {
        let golden = Golden.path("linear-qv-bf16")
        let base = try scratch.copy(golden + "/base", as: "base")
        try #require(Tools.merge(base, [golden + "/adapter"], scratch("merged")).status == 0)
        return (base, golden + "/adapter")
    }

    @Test func whatIsTold() throws {
        let scratch = try Scratch()
        let (base, adapter) = try sample(scratch)
        let answer = Tools.pack(scratch("merged"), scratch("packed"), "--base", base, "--adapter", adapter)
        #expect(answer.status == 0, "\(answer.err)")
        #expect(
            answer.err
                == "adapter-pack: note: the adapter is large for what it changes: without --adapter, the difference may take less\n"
        )
        #expect(
            answer.out.contains(
                "; against base: 18 equal, 0 as differences, 4 by merging the adapter again\n"), "\(answer.out)")
        let list = Tools.run("adapter-unpack", [scratch("packed"), "--list"]).out
        #expect(list.contains("\n//input/0/adapter_config.json "))
        #expect(list.contains("\n2 files, 11.6 kB in "), "inputs are no part of the content")
        #expect(list.hasSuffix("\nrecipe   unpacking merges the adapter in //input again\n"))
        let plain = Tools.pack(scratch("merged"), scratch("plain"))
        #expect(plain.status == 0)
        #expect(
            try Tools.listing(scratch("packed"))["content"] as? String == Tools.listing(scratch("plain"))["content"]
                as? String)
        #expect(
            Tools.run("adapter-unpack", [scratch("packed"), "--manifest"]).out
                == Tools.run("adapter-unpack", [scratch("plain"), "--manifest"]).out)
        let inspect = Tools.run("adapter-inspect", [scratch("packed")])
        #expect(inspect.out.contains("  stored        as adapters to merge into 'base', digest "))
    }

    @Test func singleFilesOfIt() throws {
        let scratch = try Scratch()
        let (base, adapter) = try sample(scratch)
        #expect(Tools.pack(scratch("merged"), scratch("packed"), "--base", base, "--adapter", adapter).status == 0)
        for (name, wanted) in [
            ("model.safetensors", scratch("merged/model.safetensors")), ("config.json", scratch("merged/config.json")),
            ("//input/0/adapter_model.safetensors", adapter + "/adapter_model.safetensors"),
        ] {
            let answer = Tools.run(
                "adapter-unpack", [scratch("packed"), name, "-o", scratch("out"), "--base", base, "--force"])
            #expect(answer.status == 0, "\(answer.err)")
            #expect(try bytes(of: scratch("out")) == bytes(of: wanted))
        }
        let piped = Tools.shell(
            "adapter-unpack - model.safetensors -o - --base \"$1\" < \"$2\" | cmp - \"$3\"", base, scratch("packed"),
            scratch("merged/model.safetensors"))
        #expect(piped.status == 0, "\(piped.out) \(piped.err)")
        #expect(scratch.names == ["base", "merged", "out", "packed"])
    }

    @Test func anotherBase() throws {
        let scratch = try Scratch()
        let (base, adapter) = try sample(scratch)
        #expect(Tools.pack(scratch("merged"), scratch("packed"), "--base", base, "--adapter", adapter).status == 0)
        try PackBaseTests.change(base + "/model.safetensors", "model.layers.0.self_attn.q_proj.weight")
        let answer = Tools.unpack(scratch("packed"), scratch("out"), "--base", base)
        #expect(answer.status == 1)
        #expect(
            answer.errors == [
                "adapter-unpack: error: \(base): tensor 'model.layers.0.self_attn.q_proj.weight': has another digest, so this is "
                    + "not the base that the archive was packed against"
            ])
        #expect(scratch.names == ["base", "merged", "packed"])
    }

    private static let warning = "the difference to the base is stored"

    /// One weight that differs: its tensor is stored as a difference, and the rest by the recipe.
    @Test func oneWeightDiffers() throws {
        let scratch = try Scratch()
        let (base, adapter) = try sample(scratch)
        let name = "model.layers.0.self_attn.q_proj.weight"
        try PackBaseTests.change(scratch("merged/model.safetensors"), name)
        let answer = Tools.pack(scratch("merged"), scratch("packed"), "--base", base, "--adapter", adapter)
        #expect(answer.status == 0)
        #expect(
            answer.warnings == [
                "adapter-pack: warning: \(scratch("merged")): tensor '\(name)': is not what the merge gives, so \(Self.warning)"
            ])
        #expect(answer.hints == ["hint: are these the right adapters, with the right weights?"])
        #expect(answer.out.contains("18 equal, 1 as differences, 3 by merging the adapter again\n"), "\(answer.out)")
        let unpacked = Tools.unpack(scratch("packed"), scratch("out"), "--base", base)
        #expect(unpacked.status == 0, "\(unpacked.err)")
        #expect(contents(of: scratch("out")) == contents(of: scratch("merged")))
    }

    /// Another weight of the adapter: nothing comes out the same, and no recipe is kept.
    @Test func anotherWeight() throws {
        let scratch = try Scratch()
        let (base, adapter) = try sample(scratch)
        let answer = Tools.pack(scratch("merged"), scratch("packed"), "--base", base, "--adapter", adapter + ":0.5")
        #expect(answer.status == 0 && answer.warnings.count == 1, "\(answer.err)")
        #expect(
            answer.warnings.first?.contains(": and 3 others are not what the merge gives, so \(Self.warning)") == true)
        let document = try Tools.listing(scratch("packed"))
        #expect(document["recipe"] as? Bool == false)
        #expect((document["files"] as? [Any])?.count == 2, "the adapter is of no use, so it is not in it")
        #expect(Tools.unpack(scratch("packed"), scratch("out"), "--base", base).status == 0)
        #expect(contents(of: scratch("out")) == contents(of: scratch("merged")))
    }

    @Test func adaptersThatDoNotFit() throws {
        let scratch = try Scratch()
        let (base, _) = try sample(scratch)
        let other = Golden.path("gpt2-bf16") + "/adapter"
        let answer = Tools.pack(scratch("merged"), scratch("packed"), "--base", base, "--adapter", other)
        #expect(answer.status == 1 && !answer.errors.isEmpty)
        #expect(scratch.names == ["base", "merged"])
    }
}
