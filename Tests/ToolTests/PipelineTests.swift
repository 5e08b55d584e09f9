import Fixtures
import Foundation
import Testing

/// A pipeline of diffusers is a base like another: what comes out is a pipeline again.
@Suite struct PipelineTests {
    private let scratch: Scratch
    private let model = PipelineModel()
    private let base: String
    private let adapter: String

    init() throws {
        scratch = try Scratch()
        base = try model.write(in: scratch)
        adapter = try PipelineModel.writeAdapter(in: scratch)
    }

    private static let changed = ["unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"]

    private func tensors(_ path: String) throws -> [String: TensorFile.Tensor] {
        let list = try TensorFile(path: path).tensors.map { ($0.name, $0) }
        return Dictionary(list) { first, _ in first }
    }

    /// Two components get new weights under their own names; everything else is the base's, byte for byte.
    @Test func tree() throws {
        let answer = Tools.merge(base, [adapter], scratch("out"))
        try #require(answer.status == 0, "\(answer.err)")
        #expect(answer.out.contains("2 tensors merged, 6 copied"), "\(answer.out)")
        #expect(answer.err.contains("another variant"), "\(answer.err)")
        let found = contents(of: scratch("out")).filter { !$0.key.hasSuffix("/") }
        var wanted = model.files
        wanted["text_encoder/model.fp16.safetensors"] = nil
        #expect(Set(found.keys) == Set(wanted.keys))
        for (path, bytes) in wanted where !Self.changed.contains(path) { #expect(found[path] == bytes, "\(path)") }
        for path in Self.changed {
            let old = try TensorFile(path: base + "/" + path)
            let new = try TensorFile(path: scratch("out/" + path))
            #expect(new.tensors.map(\.name) == old.tensors.map(\.name))
            #expect(new.metadata["adapterkit.adapters"]?.contains(#""name":"adapter""#) == true)
            #expect(new.metadata["made"] == old.metadata["made"])
            for (a, b) in zip(new.tensors, old.tensors) {
                let isChanged = b.name.contains("to_q") || b.name.contains("q_proj.weight")
                #expect(a.values == (isChanged ? PipelineModel.merged(b) : b.values), "\(b.name)")
            }
        }
        let again = Tools.merge(scratch("out"), [adapter + ":-1"], scratch("out"), "--force")
        #expect(again.status != 0 && again.err.contains("inputs are never changed"))
        let back = Tools.merge(scratch("out"), [adapter + ":-1"], scratch("back"))
        #expect(back.status == 0 && back.err.contains("is itself a merge with adapter"), "\(back.err)")
        for path in Self.changed {
            #expect(try tensors(scratch("back/" + path)) == tensors(base + "/" + path))
        }
        #expect(Tools.merge(base, [adapter], scratch("back"), "--force").status == 0)
        #expect(contents(of: scratch("back")) == contents(of: scratch("out")), "--force replaces a pipeline")
        try scratch.write("back/notes/mine", "mine")
        let refused = Tools.merge(base, [adapter], scratch("back"), "--force")
        #expect(refused.status != 0 && refused.err.contains("'notes/mine'"), "\(refused.err)")
    }

    @Test(arguments: [[], ["--dtype", "bfloat16"], ["--max-shard-size", "100"], ["--digests"]]) func undo(
        _ options: [String]
    ) throws {
        try UndoSample(base, [adapter], options).check("\(options)")
    }

    @Test func shards() throws {
        let answer = Tools.merge(base, [adapter], scratch("out"), "--max-shard-size", "150", "--digests")
        try #require(answer.status == 0, "\(answer.err)")
        let index = try object(in: scratch("out/unet/diffusion_pytorch_model.safetensors.index.json"))
        let (first, second) = (
            "diffusion_pytorch_model-00001-of-00002.safetensors", "diffusion_pytorch_model-00002-of-00002.safetensors"
        )
        #expect(
            index["weight_map"] as? [String: String] == [
                "conv_in.weight": first, "down_blocks.0.attn.to_q.weight": first,
                "down_blocks.0.attn.to_k.weight": second,
            ])
        #expect((index["metadata"] as? [String: Int]) == ["total_size": 240])
        let found = contents(of: scratch("out"))
        for path in ["vae/diffusion_pytorch_model.safetensors", "text_encoder_2/model.safetensors.index.json"] {
            #expect(found[path] == model.files[path], "\(path) is small enough")
        }
        #expect(found["text_encoder/model.safetensors.index.json"] != nil)
        #expect(Tools.shell("cd \"$1\" && sha256sum --quiet --strict -c SHA256SUMS", scratch("out")).status == 0)
        #expect(Tools.verify(base, adapter, options: ["--merged", scratch("out")]).status == 0)
    }

    @Test func dryRun() throws {
        let before = Set(scratch.names)
        let answer = Tools.merge(base, [adapter], scratch("out"), "--dry-run")
        #expect(answer.status == 0 && answer.out.contains("unet/diffusion_pytorch_model.safetensors"), "\(answer.err)")
        #expect(Set(scratch.names) == before)
    }

    @Test func inspect() throws {
        let text = Tools.run("adapter-inspect", [base])
        #expect(text.out.contains("MadeUpPipeline, a pipeline"), "\(text.out)\(text.err)")
        #expect(
            text.out.contains("unet          UNet2DConditionModel, 3 tensors, 60 parameters, 240 B of F32"),
            "\(text.out)"
        )
        #expect(text.out.contains("CLIPTextModel, 2 tensors"), "\(text.out)")
        let document = try Tools.run("adapter-inspect", [base, "--json"]).json()
        let items = document["items"] as? [[String: Any]] ?? [document]
        let names = (items.first?["components"] as? [[String: Any]])?.compactMap { $0["name"] as? String }
        #expect(names == ["text_encoder", "text_encoder_2", "unet", "vae"], "\(document)")
        let verified = Tools.verify(base, adapter)
        #expect(verified.status == 0, "\(verified.err)")
    }

    /// A component is a model, too, and its files have the names that diffusers looks for.
    @Test func component() throws {
        let own = try PipelineModel.writeAdapter(["down_blocks.0.attn.to_q": [4, 6]], as: "own", in: scratch)
        let answer = Tools.merge(base + "/unet", [own], scratch("unet"), "--max-shard-size", "100")
        try #require(answer.status == 0, "\(answer.err)")
        let names = Set(contents(of: scratch("unet")).keys)
        #expect(
            names == [
                "config.json", "diffusion_pytorch_model.safetensors.index.json",
                "diffusion_pytorch_model-00001-of-00003.safetensors",
                "diffusion_pytorch_model-00002-of-00003.safetensors",
                "diffusion_pytorch_model-00003-of-00003.safetensors",
            ])
        try UndoSample(base + "/unet", [own]).check()
    }

    @Test func refusals() throws {
        func refused(_ adapter: String, _ out: String, _ text: String, base: String? = nil) {
            let answer = Tools.merge(base ?? self.base, [adapter], scratch(out))
            #expect(answer.status != 0 && answer.err.contains(text), "\(answer.err)")
            #expect(!exists(scratch(out)))
        }
        refused(adapter, "out.safetensors", "since the base is a pipeline")
        // The module is in text_encoder and text_encoder_2, but not in this one.
        let third = try PipelineModel.writeAdapter(
            ["text_encoder_3.text_model.layers.0.q_proj": [6, 6]], as: "third", in: scratch)
        refused(third, "out", "text_encoder_3.text_model.layers.0.q_proj")
        var pickled = PipelineModel()
        pickled.files = pickled.files.filter { !$0.key.hasSuffix(".safetensors") && !$0.key.hasSuffix(".index.json") }
        refused(
            adapter, "out", "is a pipeline whose weights are Python pickles",
            base: try pickled.write(as: "p", in: scratch))
        pickled.files["safety_checker/pytorch_model.bin"] = nil
        refused(adapter, "out", "no directory in it holds .safetensors", base: try pickled.write(as: "q", in: scratch))
        let inspected = Tools.run("adapter-inspect", [scratch("p")])
        #expect(inspected.status != 0 && inspected.err.contains("Python pickles"), "\(inspected.err)")
    }

    /// The names of components come from the directory; what an index says stays within its component.
    @Test func hostileIndex() throws {
        var hostile = PipelineModel()
        hostile.files["text_encoder_2/model.safetensors.index.json"] = Array(
            #"{"weight_map": {"text_projection.weight": "../unet/diffusion_pytorch_model.safetensors"}}"#.utf8)
        let answer = Tools.merge(try hostile.write(as: "h", in: scratch), [adapter], scratch("out"))
        #expect(answer.status != 0 && answer.err.contains("is not the name of a .safetensors file"), "\(answer.err)")
    }

    @Test func swap() throws {
        let second = try PipelineModel.writeAdapter(
            ["unet.down_blocks.0.attn.to_k": [4, 6]], as: "second", in: scratch)
        for (adapters, options) in [([adapter], []), ([second], []), ([adapter, second], ["--keep"])] {
            let swapped = Tools.run("adapter-swap", [base, "use"] + adapters + options)
            try #require(swapped.status == 0, "\(swapped.err)")
            _ = Tools.shell("rm -rf \"$1\"", scratch("plain"))
            let plain = try model.write(as: "again", in: scratch)
            try #require(Tools.merge(plain, adapters, scratch("plain")).status == 0)
            let wanted = contents(of: scratch("plain"))
            let found = contents(of: base)
            for (path, bytes) in wanted where path.hasSuffix(".json") || path.hasPrefix("vae") {
                #expect(found[path] == bytes, "\(path)")
            }
            for path in Self.changed { #expect(try tensors(base + "/" + path) == tensors(scratch("plain/" + path))) }
        }
        let base = Tools.run("adapter-swap", [base, "base"])
        #expect(base.status == 0, "\(base.err)")
        let found = contents(of: self.base).filter { !$0.key.hasSuffix("/") }
        #expect(found == model.files, "\(UndoSample.differences(found, model.files))")
    }
}
