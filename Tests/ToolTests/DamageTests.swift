import Fixtures
import Testing

/// What can be wrong with an adapter is all found in one run; each problem names the tensor, the shapes and a next step.
@Suite struct DamageTests {
    @Test func everythingInOneRun() throws {
        let scratch = try Scratch()
        var pair = Pair()
        pair.set(Pair.key("layers.0.q_proj", "B"), nil)
        let (a, b) = (Pair.key("layers.0.k_proj", "A"), Pair.key("layers.0.k_proj", "B"))
        pair.change(a) { ($0.shape, $0.bytes) = ([4, 2], Array($0.bytes.prefix(32))) }
        pair.change(b) { ($0.shape, $0.bytes) = ([2, 6], $0.bytes + Array(repeating: 0, count: 16)) }
        pair.change(Pair.key("layers.0.v_proj", "A")) { $0.shape.reverse() }
        pair.change(Pair.key("layers.0.o_proj", "A")) { ($0.shape, $0.bytes) = ([1, 8], Array($0.bytes.prefix(32))) }
        pair.change(Pair.key("layers.0.o_proj", "B")) { ($0.shape, $0.bytes) = ([6, 1], Array($0.bytes.prefix(24))) }
        pair.adapter.append(TensorFile.Tensor("base_model.model.layers.1.q_proj.lora_C.weight", "F32", [1], [1]))
        for half in ["A", "B"] {
            pair.change(Pair.key("layers.1.k_proj", half)) { $0.name = Pair.key("layers.9.k_proj", half) }
        }
        pair.config["rank_pattern"] = ["nothing_proj": 4]
        pair.change(Pair.key("layers.1.v_proj", "A")) { $0.bytes.replaceSubrange(0..<4, with: [0, 0, 0xC0, 0x7F]) }
        pair.change(Pair.key("layers.1.o_proj", "B")) { $0.bytes = Array(repeating: 0, count: $0.bytes.count) }
        let (base, adapter) = try pair.write(in: scratch)

        let answer = Tools.verify(base, adapter, options: ["--deep"])
        #expect(answer.status == 1)
        #expect(answer.out == "\(adapter): does not fit: 8 errors, 2 warnings\n")
        let file = "adapter-verify: error: \(adapter)/adapter_model.safetensors: tensor 'base_model.model."
        let wanted = [
            "\(file)layers.0.q_proj.lora_A.weight': has no matching 'lora_B' in the file",
            "\(file)layers.1.q_proj.lora_C.weight': has no counterpart 'layers.1.q_proj.lora_C.weight' in the base '\(base)'",
            "\(file)layers.0.k_proj.lora_A.weight': the halves are swapped: lora_A is [4, 2] and lora_B is [2, 6] for the "
                + "base weight 'layers.0.k_proj.weight' [4, 6]",
            "\(file)layers.0.o_proj.lora_A.weight': shape [1, 8] has rank 1, but the config says rank 2",
            "\(file)layers.0.v_proj.lora_A.weight': lora_A is transposed: lora_A is [6, 2] and lora_B is [4, 2] for the base "
                + "weight 'layers.0.v_proj.weight' [4, 6], but lora_A must be [rank, in] = [2, 6]",
            "\(file)layers.9.k_proj.lora_A.weight': has no counterpart 'layers.9.k_proj.weight' in the base '\(base)'",
            "adapter-verify: error: \(adapter)/adapter_config.json: 'rank_pattern' has 'nothing_proj', which matches no "
                + "module of the adapter",
            "\(file)layers.1.v_proj.lora_A.weight': has 1 of 12 values that are NaN or infinite",
        ]
        #expect(answer.errors.sorted() == wanted.sorted())
        let hints = Set(answer.hints)
        #expect(hints.count == answer.hints.count && hints.count >= 8, "each hint is given once")
        #expect(answer.warnings.contains { $0.hasSuffix("is all zero [6, 2], so this module changes nothing") })
        try checkJSON(Tools.verify(base, adapter, options: ["--deep", "--json"]))

        let merged = Tools.merge(base, [adapter], scratch("out"))
        #expect(merged.status == 1)
        #expect(merged.errors.count == 7, "what headers show")
        #expect(scratch.names == ["adapter", "base"])
    }

    private func checkJSON(_ answer: Answer) throws {
        let document = try answer.json()
        #expect(answer.status == 1)
        #expect(document["schema"] as? String == "adapterkit.verify")
        #expect(document["version"] as? Int == 1)
        #expect(document["fits"] as? Bool == false)
        let problems = try #require(document["problems"] as? [[String: Any]])
        let codes = problems.filter { $0["severity"] as? String == "error" }.compactMap { $0["code"] as? String }
        let wanted = [
            "missing-half", "non-finite", "rank-mismatch", "shape-mismatch", "shape-mismatch", "unmatched-module",
            "unmatched-module", "unused-pattern",
        ]
        #expect(codes.sorted() == wanted)
        #expect(problems.allSatisfy { $0["hint"] is String })
    }

    @Test func wrongBase() throws {
        let scratch = try Scratch()
        var pair = Pair()
        pair.base[0] = TensorFile.Tensor("layers.0.q_proj.weight", "BF16", [10, 12], Array(repeating: 1, count: 120))
        let (base, adapter) = try pair.write(in: scratch)
        let answer = Tools.verify(base, adapter)
        #expect(answer.status == 1)
        #expect(
            answer.errors == [
                "adapter-verify: error: \(adapter)/adapter_model.safetensors: tensor "
                    + "'base_model.model.layers.0.q_proj.lora_B.weight': shapes [2, 6] of lora_A and [8, 2] of lora_B need a "
                    + "base weight [8, 6] or [6, 8], but the base weight 'layers.0.q_proj.weight' [10, 12] is not that"
            ])
        #expect(answer.hints == ["hint: the adapter was trained on a different base; its config names 'base'"])
    }

    @Test func soundPairAndUntrainedAdapter() throws {
        let scratch = try Scratch()
        var pair = Pair()
        let (base, adapter) = try pair.write(in: scratch)
        let sound = Tools.verify(base, adapter, options: ["--deep"])
        #expect(sound.status == 0)
        #expect(sound.out == "\(adapter): fits: 8 modules, 8 tensors of the base change\n")
        #expect(sound.err.isEmpty)
        for at in pair.adapter.indices where pair.adapter[at].name.contains("lora_B") {
            pair.adapter[at].bytes = Array(repeating: 0, count: pair.adapter[at].bytes.count)
        }
        let untrained = try pair.writeAdapter(as: "untrained", in: scratch)
        #expect(Tools.verify(base, untrained).err.isEmpty)
        let answer = Tools.verify(base, untrained, options: ["--deep"])
        #expect(answer.status == 0)
        #expect(answer.warnings.count == 1)
        #expect(answer.warnings[0].hasSuffix("and so is lora_B of all 8 modules: none of them changes anything"))
        #expect(answer.out == "\(untrained): fits: 8 modules, 8 tensors of the base change\n")
        let merged = Tools.merge(base, [untrained], scratch("out"))
        #expect(merged.status == 1 && scratch.names == ["adapter", "base", "untrained"])
        #expect(merged.errors.first?.contains("nothing but deltas that are zero, all 8") == true)
        #expect(Tools.merge(base, [untrained], scratch("out"), "--allow", "zero-delta").status == 0)
        #expect(Tools.verify(base, untrained, options: ["--deep", "--quiet"]).err.isEmpty)
    }

    @Test func damagedBase() throws {
        let scratch = try Scratch()
        var pair = Pair()
        pair.base[2].bytes.replaceSubrange(0..<2, with: [0x80, 0x7F])
        let (base, adapter) = try pair.write(in: scratch)
        #expect(Tools.verify(base, adapter).status == 0)
        let answer = Tools.verify(base, adapter, options: ["--deep"])
        #expect(answer.status == 1)
        #expect(
            answer.errors == [
                "adapter-verify: error: \(base)/model.safetensors: tensor 'layers.0.v_proj.weight': has 1 of 24 values that "
                    + "are NaN or infinite"
            ])
        let merged = Tools.merge(base, [adapter], scratch("out"))
        #expect(merged.status == 1 && scratch.names == ["adapter", "base"])
        #expect(merged.errors.count { $0.contains("1 weight became NaN or infinite, since an input is") } == 1)
        let allowed = Tools.merge(base, [adapter], scratch("out"), "--allow", "non-finite")
        #expect(allowed.status == 0 && allowed.warnings.count == 1)
    }

    @Test func everyAdapterIsHeard() throws {
        let scratch = try Scratch()
        let (base, adapter) = try Pair().write(in: scratch)
        var other = Pair()
        other.set(Pair.key("layers.1.q_proj", "A"), nil)
        let damaged = try other.writeAdapter(as: "damaged", in: scratch)
        let answer = Tools.verify(base, adapter, damaged, scratch("absent"))
        #expect(answer.status == 66, "what is missing outweighs a mere no")
        #expect(
            answer.out == """
                \(adapter): fits: 8 modules, 8 tensors of the base change
                \(damaged): does not fit: 1 error, 1 warning
                \(scratch("absent")): cannot be read

                """)
        #expect(answer.errors.count == 2)
    }

    @Test func aMergeOfSomethingElseIsFound() throws {
        let scratch = try Scratch()
        let (base, adapter) = try Pair().write(in: scratch)
        #expect(Tools.merge(base, [adapter + ":0.5"], scratch("half")).status == 0)
        #expect(Tools.verify(base, adapter + ":0.5", options: ["--merged", scratch("half")]).status == 0)
        let whole = Tools.verify(base, adapter, options: ["--merged", scratch("half")])
        #expect(whole.status == 1)
        #expect(whole.errors.count == 8)
        #expect(whole.errors.first?.contains("farther from the merge than rounding explains") == true)
        var file = try TensorFile(path: scratch("half/model.safetensors"))
        file.tensors[8].bytes[0] ^= 1
        file.tensors.remove(at: 0)
        try file.write(to: scratch("half/model.safetensors"))
        let damaged = Tools.verify(base, adapter + ":0.5", options: ["--merged", scratch("half")])
        #expect(damaged.status == 1)
        #expect(
            damaged.errors == [
                "adapter-verify: error: \(scratch("half")): tensor 'layers.0.q_proj.weight': is missing in the merged model",
                "adapter-verify: error: \(scratch("half")): tensor 'norm.weight': differs from the base, though no adapter "
                    + "changes it",
            ])
    }
}
