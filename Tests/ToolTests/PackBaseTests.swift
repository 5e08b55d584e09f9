import Fixtures
import Foundation
import Testing

/// Models that are packed as their difference to a base.
@Suite struct PackBaseTests {
    /// A base, the model that a merge makes of it, and that model's archive.
    private struct Sample {
        let base: String
        let merged: String
        let packed: String

        init(_ scratch: Scratch, options: [String] = []) throws {
            let golden = Golden.path("linear-qv-bf16")
            base = try scratch.copy(golden + "/base", as: "base")
            (merged, packed) = (scratch("merged"), scratch("packed"))
            try #require(Tools.merge(base, [golden + "/adapter"], merged).status == 0)
            try scratch.write("merged/notes.txt", "not in the base")
            let answer = Tools.run("adapter-pack", [merged, "-o", packed, "--base", base] + options)
            try #require(answer.status == 0 && answer.err.isEmpty, "\(answer.err)")
            #expect(answer.out.contains("; against base: 18 equal, 4 as differences\n"))
        }
    }

    /// Changes a byte of a tensor in a safetensors file.
    static func change(_ path: String, _ name: String) throws {
        var file = try TensorFile(path: path)
        let at = try #require(file.tensors.firstIndex { $0.name == name })
        file.tensors[at].bytes[0] ^= 1
        try file.write(to: path)
    }

    private static let changed = "model.layers.0.self_attn.q_proj.weight"
    private static let equal = "model.norm.weight"

    @Test func roundTrip() throws {
        let scratch = try Scratch()
        let sample = try Sample(scratch)
        let answer = Tools.unpack(sample.packed, scratch("out"), "--base", sample.base)
        #expect(answer.status == 0 && answer.err.isEmpty, "\(answer.err)")
        #expect(contents(of: scratch("out")) == contents(of: sample.merged))
        #expect(try bytes(of: sample.packed).count < bytes(of: sample.merged + "/model.safetensors").count / 2)
        let test = Tools.run("adapter-unpack", [sample.packed, "--test", "--base", sample.base])
        #expect(test.status == 0 && test.out.hasPrefix("\(sample.packed): sound: 3 files, 11.7 kB in "), "\(test.out)")
        #expect(scratch.names == ["base", "merged", "out", "packed"])
    }

    @Test func whatIsTold() throws {
        let scratch = try Scratch()
        let sample = try Sample(scratch)
        let document = try Tools.listing(sample.packed)
        let digest = try #require((document["base"] as? [String: Any])?["digest"] as? String)
        #expect((document["base"] as? [String: Any])?["name"] as? String == "base")
        let files = try #require(document["files"] as? [[String: Any]])
        #expect(files.map { $0["needs_base"] as? Bool } == [true, true, false])
        #expect(files.map { $0["packed_bytes"] as? Int }[0] == 0, "the config is the base's")
        let list = Tools.run("adapter-unpack", [sample.packed, "--list"]).out
        #expect(list.contains("\nbase     needs 'base', digest \(digest)\n"))
        let inspect = Tools.run("adapter-inspect", [sample.packed])
        #expect(inspect.status == 0)
        #expect(inspect.out.hasPrefix("\(sample.packed): packed archive\n"))
        #expect(inspect.out.hasSuffix("  stored        as the difference to 'base', digest \(digest)\n"))
        let packed = try Tools.pack(sample.merged, scratch("again"), "--json", "--base", sample.base).json()
        #expect(packed["parts"] as? [String: Int] == ["plain": 2, "differences": 4, "copies": 18, "merged": 0])
        #expect(packed["base"] as? String == "base")
    }

    @Test func withoutTheBase() throws {
        let scratch = try Scratch()
        let sample = try Sample(scratch)
        let wanted =
            "error: \(sample.packed): was packed against the base 'base', and 'config.json' cannot be read without it"
        let refused = "error: \(sample.packed): was packed against the base 'base', and cannot be unpacked without it"
        for names in [[], ["model.safetensors"], ["config.json"]] {
            let answer = Tools.run("adapter-unpack", [sample.packed] + names + ["-o", scratch("out")])
            #expect(answer.status == 1)
            #expect(answer.errors == ["adapter-unpack: " + refused])
            #expect(answer.hints == ["hint: name it with --base BASE"])
        }
        let tensor = Tools.run("adapter-unpack", [sample.packed, Self.changed, "-o", scratch("out")])
        #expect([1, 66].contains(tensor.status) && tensor.errors.count == 1, "\(tensor.err)")
        #expect(scratch.names == ["base", "merged", "packed"])
        let notes = Tools.run("adapter-unpack", [sample.packed, "notes.txt", "-o", scratch("out")])
        #expect(notes.status == 0, "what needs no base is there without it: \(notes.err)")
        let test = Tools.run("adapter-unpack", [sample.packed, "--test"])
        #expect(test.status == 0)
        #expect(test.out.hasPrefix("\(sample.packed): its streams are sound: 3 files, "))
        #expect(
            test.warnings == [
                "adapter-unpack: warning: \(sample.packed): was packed against a base, so its streams were checked, but no digests"
            ])
        let verify = Tools.verify(
            sample.base, Golden.path("linear-qv-bf16") + "/adapter", options: ["--merged", sample.packed])
        #expect(verify.status == 1 && verify.errors == ["adapter-verify: " + wanted])
        #expect(verify.hints == ["hint: unpack it first: adapter-unpack '\(sample.packed)' --base BASE -o DIR"])
    }

    /// Refused before anything is written, and by name: a tensor that differs, whether the model changes it or not.
    @Test func anotherBase() throws {
        let scratch = try Scratch()
        let sample = try Sample(scratch)
        let what = "so this is not the base that the archive was packed against"
        for name in [Self.changed, Self.equal] {
            let other = try scratch.copy(sample.base, as: "other")
            try Self.change(other + "/model.safetensors", name)
            for names in [[], ["model.safetensors"]] {
                let answer = Tools.run(
                    "adapter-unpack", [sample.packed] + names + ["-o", scratch("out"), "--base", other])
                #expect(answer.status == 1)
                #expect(
                    answer.errors == ["adapter-unpack: error: \(other): tensor '\(name)': has another digest, \(what)"])
                #expect(answer.hints == ["hint: name the same base, of the same revision"])
                #expect(scratch.names == ["base", "merged", "other", "packed"])
            }
            let test = Tools.run("adapter-unpack", [sample.packed, "--test", "--base", other])
            #expect(test.status == 1 && test.out.isEmpty)
            _ = Tools.shell("rm -r \"$1\"", other)
        }
        let other = try scratch.copy(sample.base, as: "other")
        try scratch.write("other/config.json", "{}")
        let config = Tools.unpack(sample.packed, scratch("out"), "--base", other)
        #expect(
            config.errors == [
                "adapter-unpack: error: \(other): the file 'config.json' is missing or has another size, \(what)"
            ])
        let none = Tools.unpack(sample.packed, scratch("out"), "--base", scratch("none"))
        #expect(none.status == 66 && none.errors == ["adapter-unpack: error: \(scratch("none")): does not exist"])
        var file = try TensorFile(path: other + "/model.safetensors")
        file.tensors.removeAll { $0.name == Self.equal }
        try file.write(to: other + "/model.safetensors")
        _ = try scratch.copy(sample.base + "/config.json", as: "other/config.json.new")
        _ = Tools.shell("mv \"$1.new\" \"$1\"", other + "/config.json")
        let missing = Tools.unpack(sample.packed, scratch("out"), "--base", other)
        #expect(
            missing.errors == [
                "adapter-unpack: error: \(other): tensor '\(Self.equal)': is missing or has another size, \(what)"
            ])
        #expect(scratch.names == ["base", "merged", "other", "packed"])
    }

    /// The same base in other forms: renamed, in one file, in several, packed itself.
    @Test func theSameBaseInOtherForms() throws {
        let scratch = try Scratch()
        let sample = try Sample(scratch)
        let renamed = try scratch.copy(sample.base, as: "renamed")
        _ = Tools.shell("mv \"$1/model.safetensors\" \"$1/weights.safetensors\"", renamed)
        #expect(Tools.pack(sample.base, scratch("base.packed")).status == 0)
        for base in [renamed, scratch("base.packed")] {
            let answer = Tools.unpack(sample.packed, scratch("out"), "--base", base, "--force")
            #expect(answer.status == 0, "\(answer.err)")
            #expect(contents(of: scratch("out")) == contents(of: sample.merged))
        }
        let file = sample.base + "/model.safetensors"
        #expect(Tools.pack(sample.merged, scratch("by.file"), "--base", file).status == 0)
        for base in [file, sample.base] {
            #expect(Tools.unpack(scratch("by.file"), scratch("out"), "--base", base, "--force").status == 0)
            #expect(contents(of: scratch("out")) == contents(of: sample.merged))
        }
        let needy = Tools.pack(sample.merged, scratch("no"), "--base", sample.packed)
        #expect(needy.status == 1 && !exists(scratch("no")))
        #expect(needy.errors.first?.contains("was packed against the base 'base'") == true)
    }

    /// Links that lead up have ever more paths through them; a base has none of what lies behind them.
    @Test func aBaseWithLinksThatLeadUp() throws {
        let scratch = try Scratch()
        let sample = try Sample(scratch)
        for name in ["one", "two"] { try scratch.link("base/\(name)", to: ".") }
        let script = "exec timeout -s KILL 10 adapter-pack \"$1\" --base \"$2\" -o \"$3\""
        let answer = Tools.shell(script, sample.merged, sample.base, scratch("out"))
        #expect(answer.status == 0, "\(answer.status) \(answer.err.prefix(400))")
    }

    /// A base that has nothing of the input is no base: the archive needs none.
    @Test func nothingInCommon() throws {
        let scratch = try Scratch()
        try scratch.write("in/text", "text")
        let answer = Tools.pack(scratch("in"), scratch("packed"), "--base", Golden.path("linear-qv-bf16") + "/base")
        #expect(answer.status == 0, "\(answer.err)")
        #expect(try Tools.listing(scratch("packed"))["base"] is NSNull)
        #expect(Tools.unpack(scratch("packed"), scratch("out")).status == 0)
    }

    private func tuned(_ base: TensorFile.Tensor, _ random: inout SeededRandom) -> TensorFile.Tensor {
        var tensor = base
        switch random.below(5) {
        case 0: break
        case 1: tensor.bytes = random.bytes(tensor.bytes.count)
        case 2: for at in tensor.bytes.indices where random.below(9) == 0 { tensor.bytes[at] &+= 1 }
        case 3: for at in tensor.bytes.indices { tensor.bytes[at] ^= UInt8(random.below(4)) }
        default: if !tensor.bytes.isEmpty { tensor.bytes[random.below(tensor.bytes.count)] ^= 0x80 }
        }
        return tensor
    }

    @Test(arguments: 0..<24) func randomModels(_ number: Int) throws {
        var random = SeededRandom(test: "randomModels \(number)")
        let scratch = try Scratch()
        let kinds = [
            ("F64", 8), ("F32", 4), ("C64", 8), ("F16", 2), ("BF16", 2), ("F8_E5M2", 1), ("I32", 4), ("U8", 1),
            ("I64", 8),
        ]
        let base = (0..<1 + random.below(8)).map { at -> TensorFile.Tensor in
            let (dtype, size) = random.pick(kinds)
            let count = random.pick([0, 1, 2, 3, 5, 100, 2_000, 140_000 / size])
            return TensorFile.Tensor("t\(at)", dtype, [count], bytes: random.bytes(count * size).map { $0 & 0x9F })
        }
        var model = base.map { tuned($0, &random) }
        if random.below(2) == 0 { model.shuffle(using: &random) }
        if random.below(2) == 0 { model.removeLast() }
        model.append(.init("new", "BF16", [9], bytes: random.bytes(18)))
        try scratch.write("base/model.safetensors", TensorFile(base).encoded)
        try scratch.write("in/sub/other.safetensors", TensorFile(model).encoded)
        try scratch.write("in/model.safetensors", TensorFile(random.below(3) == 0 ? base : model).encoded)
        let level = random.pick(["fast", "default", "best"])
        let packed = Tools.pack(scratch("in"), scratch("packed"), "--base", scratch("base"), "--level", level)
        try #require(packed.status == 0, "\(packed.err)")
        let answer = Tools.unpack(scratch("packed"), scratch("out"), "--base", scratch("base"))
        try #require(answer.status == 0, "\(answer.err)")
        #expect(contents(of: scratch("out")) == contents(of: scratch("in")))
        #expect(scratch.names == ["base", "in", "out", "packed"])
    }

    /// Damage of an archive with differences has a name, too.
    @Test func damage() throws {
        let scratch = try Scratch()
        let sample = try Sample(scratch)
        let whole = try bytes(of: sample.packed)
        let sizes = try TensorFile(path: sample.packed).tensors.map(\.bytes.count)
        let end = whole.count - sizes[2] - sizes[3]
        var random = SeededRandom(test: "PackBaseTests.damage")
        for _ in 0..<60 {
            let at = end - 1 - random.below(sizes[1])
            var damaged = whole
            damaged[at] ^= 1 << UInt8(random.below(8))
            try scratch.write("damaged", damaged)
            let answer = Tools.unpack(scratch("damaged"), scratch("out"), "--base", sample.base)
            if answer.status == 0 {
                #expect(contents(of: scratch("out")) == contents(of: sample.merged))
                _ = Tools.shell("rm -r \"$1\"", scratch("out"))
                continue
            }
            #expect(answer.status == 65 && !exists(scratch("out")), "byte \(at): \(answer.err)")
            #expect(answer.errors.first?.contains("is damaged: 'model.safetensors' ") == true, "\(answer.err)")
        }
    }

    /// A base with a link to a directory that it lies in is listed once.
    @Test func aBaseThatLinksToItself() throws {
        let scratch = try Scratch()
        let base = try scratch.copy(Golden.path("linear-qv-bf16") + "/base", as: "base")
        try scratch.link("base/again", to: ".")
        let model = Golden.path("linear-qv-bf16") + "/base"
        let answer = Tools.pack(model, scratch("packed"), "--base", base)
        #expect(answer.status == 0 && answer.out.contains(" equal, 0 as differences"), "\(answer.err)")
        #expect(Tools.unpack(scratch("packed"), scratch("out"), "--base", base).status == 0)
        #expect(contents(of: scratch("out")) == contents(of: model))
    }
}
