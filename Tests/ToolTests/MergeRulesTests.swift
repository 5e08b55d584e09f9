import Fixtures
import Foundation
import Testing

/// What a merge does besides adding deltas, and when it refuses to be one.
@Suite struct MergeRulesTests {
    private static func text(_ name: String) -> String { Golden.path(name) + "/base" }

    /// With another dtype, 8-bit weights stand for themselves: their scales and the quantisation go.
    @Test(arguments: ["fp8-block", "fp8-tensor", "fp8-e4m3", "fp8-e5m2"], ["float32", "bfloat16", "f16"])
    func anotherTypeDequantizes(_ name: String, _ dtype: String) throws {
        let scratch = try Scratch()
        let (base, adapter) = (Golden.path(name) + "/base", Golden.path(name) + "/adapter")
        let answer = Tools.merge(base, [adapter], scratch("out"), "--dtype", dtype)
        #expect(answer.status == 0, "\(answer.err)")
        let (before, after) = try (tensors(in: base), tensors(in: scratch("out")))
        #expect(after.values.allSatisfy { !$0.dtype.hasPrefix("F8") })
        #expect(after.keys.allSatisfy { !$0.contains("scale") })
        #expect(try object(in: scratch("out/config.json"))["quantization_config"] == nil)
        for (weight, stored) in before where stored.dtype.hasPrefix("F8") {
            guard let scale = before[weight + "_scale_inv"] ?? before[weight + "_scale"], scale.values.count == 1,
                let found = after[weight], !answer.err.contains("'\(weight)'")
            else { continue }
            let isTouched = try TensorFile(path: adapter + "/adapter_model.safetensors").tensors.contains {
                $0.name.contains(weight.replacing(".weight", with: ".lora_"))
            }
            if isTouched { continue }
            let exact = stored.values.map { $0 * scale.values[0] }
            #expect(found == TensorFile.Tensor(weight, found.dtype, stored.shape, exact), "\(weight)")
        }
        let verified = Tools.verify(base, adapter, options: ["--merged", scratch("out")])
        #expect(verified.status == 0 && verified.out.contains("100% of their"), "\(verified.out)\(verified.err)")
    }

    @Test func anUnknownScaleIsRefused() throws {
        let scratch = try Scratch()
        var pair = Pair()
        let weight = "layers.0.q_proj.weight"
        for at in pair.base.indices where pair.base[at].name == weight {
            pair.base[at] = .init(weight, "F8_E4M3", [8, 6], bytes: Array(repeating: 0x38, count: 48))
        }
        pair.base.append(.init("layers.0.q_proj.qscale_weight", "F32", [1], [3]))
        let (base, adapter) = try pair.write(in: scratch)
        for answer in [Tools.verify(base, adapter), Tools.merge(base, [adapter], scratch("out"))] {
            #expect(answer.status == 1)
            #expect(
                answer.errors.contains { $0.contains("'layers.0.q_proj.qscale_weight' beside it") }, "\(answer.err)")
        }
    }

    @Test func whatIsTooLargeIsNoModel() throws {
        let scratch = try Scratch()
        let (base, adapter) = try Pair(dtype: "F16").write(in: scratch)
        let report = scratch("report.json")
        let answer = Tools.merge(base, [adapter + ":1e9"], scratch("out"), "--report", report)
        #expect(answer.status == 1)
        #expect(answer.errors.first?.contains("are too large for F16 and became infinite") == true, "\(answer.err)")
        #expect(scratch.names == ["adapter", "base", "report.json"])
        let loss = try object(in: report)["loss"] as? [String: Any]
        #expect((loss?["overflows"] as? Int ?? 0) > 0)
        let allowed = Tools.merge(base, [adapter + ":1e9"], scratch("out"), "--allow", "overflow")
        #expect(allowed.status == 0 && allowed.warnings.contains { $0.contains("too large for F16") })
    }

    @Test func aMergeOfAMergeKeepsItsOrigin() throws {
        let scratch = try Scratch()
        var pair = Pair()
        let (base, adapter) = try pair.write(in: scratch)
        pair.change(Pair.key("layers.0.q_proj", "A")) { $0 = .init($0.name, "F32", [2, 6], (1...12).map(Double.init)) }
        let other = try pair.writeAdapter(as: "other", in: scratch)
        #expect(Tools.merge(base, [adapter], scratch("once")).status == 0)
        let answer = Tools.merge(scratch("once"), [other + ":0.5"], scratch("twice"))
        #expect(answer.status == 0)
        #expect(answer.err.contains("note: \(scratch("once")): is itself a merge with adapter, which stays in it"))
        let metadata = try TensorFile(path: scratch("twice/model.safetensors")).metadata
        let list = try JSONSerialization.jsonObject(with: Data((metadata["adapterkit.adapters"] ?? "").utf8))
        let adapters = try #require(list as? [[String: Any]])
        #expect(adapters.map { $0["name"] as? String } == ["adapter", "other"])
        #expect(adapters.map { $0["weight"] as? Double } == [1, 0.5])

        let same = Tools.merge(base, [adapter, adapter + "/"], scratch("same"))
        #expect(same.status == 0 && same.warnings.count == 1)
        #expect(
            same.warnings.first?.hasSuffix("is named twice, so that its delta counts twice: the weights add up") == true
        )
    }

    /// A base that was trained on a copy of itself: the copy says nothing, whatever the weight.
    @Test func copiesOfTheBaseDoNotStandInTheWay() throws {
        let scratch = try Scratch()
        var pair = Pair()
        let weight = try #require(pair.base.first)
        pair.adapter.append(.init(Pair.prefix + "layers.0.q_proj.base_layer.weight", "F32", [8, 6], weight.values))
        let (base, adapter) = try pair.write(in: scratch)
        let other = try pair.writeAdapter(as: "other", in: scratch)
        let answer = Tools.merge(base, [adapter + ":0.5", other + ":-2"], scratch("out"))
        #expect(answer.status == 0, "\(answer.err)")
        let verified = Tools.run(
            "adapter-verify", [base, adapter + ":0.5", other + ":-2", "--merged", scratch("out")])
        #expect(verified.status == 0, "\(verified.err)")
        // With other values it is a replacement, and two of them have no sum.
        pair.adapter[pair.adapter.count - 1] = .init(
            Pair.prefix + "layers.0.q_proj.base_layer.weight", "F32", [8, 6], weight.values.map { $0 + 1 })
        let changed = try pair.writeAdapter(as: "changed", in: scratch)
        pair.adapter[pair.adapter.count - 1] = .init(
            Pair.prefix + "layers.0.q_proj.base_layer.weight", "F32", [8, 6], weight.values.map { $0 - 1 })
        let again = try pair.writeAdapter(as: "again", in: scratch)
        for answer in [Tools.verify(base, changed, again), Tools.merge(base, [changed, again], scratch("no"))] {
            #expect(answer.status == 1)
            #expect(answer.errors.contains { $0.contains("two replacements have no sum") }, "\(answer.err)")
        }
    }

    @Test func wrongMergesAreFound() throws {
        let scratch = try Scratch()
        let (base, adapter) = try Pair().write(in: scratch)
        #expect(Tools.merge(base, [adapter], scratch("out")).status == 0)
        let file = scratch("out/model.safetensors")
        let good = try TensorFile(path: file)
        var extra = good
        extra.tensors.append(.init("layers.0.q_proj.bias", "BF16", [8], Array(repeating: 0, count: 8)))
        try extra.write(to: file)
        let answer = Tools.verify(base, adapter, options: ["--merged", scratch("out")])
        #expect(answer.status == 1 && answer.out.contains("is not the base plus the adapter: 1 difference"))
        #expect(answer.errors.first?.contains("neither in the base nor from an adapter") == true)
        try good.write(to: file)
        #expect(Tools.verify(base, adapter, options: ["--merged", scratch("out")]).status == 0)
    }

    /// The base itself, twice the adapter, and a number that is none are no merge.
    @Test func whatRoundingDoesNotExplain() throws {
        let scratch = try Scratch()
        let (base, adapter) = try Pair().write(in: scratch)
        let options = ["--merged", scratch("out")]
        _ = try scratch.copy(base, as: "out")
        #expect(Tools.verify(base, adapter, options: options).status == 1)
        #expect(Tools.merge(base, [adapter + ":2"], scratch("out"), "--force").status == 0)
        #expect(Tools.verify(base, adapter, options: options).status == 1)
        #expect(Tools.verify(base, adapter + ":2", options: options).status == 0)
        let name = scratch("out/model.safetensors")
        var file = try TensorFile(path: name)
        file.tensors[0].bytes.replaceSubrange(0..<2, with: [0xc0, 0x7f])
        try file.write(to: name)
        let answer = Tools.verify(base, adapter + ":2", options: options)
        #expect(answer.status == 1)
        #expect(answer.errors.first?.contains("has 1 of 48 weights farther from the merge") == true, "\(answer.err)")
    }

    /// What one adapter adds and another takes away again is no merge that anyone wants.
    @Test func adaptersThatCancel() throws {
        let scratch = try Scratch()
        let (base, adapter) = try Pair().write(in: scratch)
        let answer = Tools.merge(base, [adapter, adapter + ":-1"], scratch("out"))
        #expect(answer.status == 1 && answer.err.contains("--allow zero-delta"), "\(answer.err)")
        #expect(!scratch.names.contains("out"))
        let allowed = Tools.merge(
            base, [adapter, adapter + ":-1"], scratch("out"), "--allow", "zero-delta")
        #expect(allowed.status == 0, "\(allowed.err)")
    }

    /// `config.json` is a part of the merge.
    @Test func aWrongConfigIsFound() throws {
        let scratch = try Scratch()
        for (name, key, wrong) in [
            ("tied-head-bf16", "tie_word_embeddings", true as Any),
            ("resized-vocabulary-bf16", "vocab_size", 24 as Any), ("linear-qv-bf16", "vocab_size", 25 as Any),
            ("rslora-bf16", "num_attention_heads", 1 as Any),
        ] {
            let (base, adapter) = (Golden.path(name) + "/base", Golden.path(name) + "/adapter")
            #expect(Tools.merge(base, [adapter], scratch(name)).status == 0)
            #expect(Tools.verify(base, adapter, options: ["--merged", scratch(name)]).status == 0)
            var config = try object(in: scratch(name + "/config.json"))
            config[key] = wrong
            try scratch.write(name + "/config.json", [UInt8](try JSONSerialization.data(withJSONObject: config)))
            let answer = Tools.verify(base, adapter, options: ["--merged", scratch(name)])
            #expect(answer.status == 1 && answer.errors.first?.contains(key) == true, "\(answer.err)")
        }
    }
}
