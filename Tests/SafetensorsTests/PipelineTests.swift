import Files
import Fixtures
import Problems
import StrictJSON
import Testing

@testable import Safetensors

/// A pipeline of diffusers is one checkpoint whose names begin with the component's.
@Suite struct PipelineTests {
    private func scratch(_ files: [String: [TensorFile.Tensor]], texts: [String: String] = [:]) throws -> Scratch {
        let scratch = try Scratch()
        for path in Array(files.keys) + texts.keys {
            try scratch.directory("p/" + path.split(separator: "/").dropLast().joined(separator: "/"))
        }
        for (path, tensors) in files { try TensorFile(tensors).write(to: scratch("p/" + path)) }
        for (path, text) in texts { try scratch.write("p/" + path, text) }
        return scratch
    }

    private func tensor(_ name: String, _ value: Double) -> TensorFile.Tensor {
        TensorFile.Tensor(name, "F32", [1], [value])
    }

    private func codes(_ checkpoint: Checkpoint) -> [String] { checkpoint.problems.map(\.code).sorted() }

    @Test func components() throws {
        let scratch = try scratch(
            [
                "unet/diffusion_pytorch_model.safetensors": [tensor("a", 1), tensor("b", 2)],
                "vae/diffusion_pytorch_model.safetensors": [tensor("a", 3)],
                "v1.5/model.safetensors": [tensor("a", 4)], "whole.safetensors": [tensor("a", 5)],
            ],
            texts: [
                "model_index.json": #"{"_class_name": "P", "../x": ["diffusers", "Y"]}"#,
                "unet/config.json": #"{"_class_name": "U"}"#, "scheduler/config.json": "{}",
                "text_encoder/pytorch_model.bin": "pickle", "README.md": "",
            ])
        let found = try Checkpoint.open(path: scratch("p"))
        #expect(found.isPipeline && found.components.map(\.name) == ["unet", "vae"])
        #expect(found.components[0].config?.object?["_class_name"]?.string == "U" && found.components[1].config == nil)
        #expect(found.config?.object?["_class_name"]?.string == "P" && found.index == nil)
        #expect(found.tensors.map(\.info.name) == ["unet.a", "unet.b", "vae.a"])
        #expect(found.shards.map(\.name) == ["unet", "vae"].map { "\($0)/diffusion_pytorch_model.safetensors" })
        #expect(found.lookup("a") == nil && found.lookup("v1.5.a") == nil)
        let place = try #require(found.lookup("vae.a"))
        let values = try found.shards[place.shard].file.read(place.info)
        #expect(values == tensor("a", 3).bytes)
        #expect(found.shards[place.shard].file.header["vae.a"] == place.info)
        #expect(found.component(of: "vae.a")?.name == "vae" && found.component(of: "vaea") == nil)
        #expect(codes(found) == ["beside-components", "component-name", "pickled-component"])
        #expect(found.problems.allSatisfy { $0.severity == .note })
        #expect(found.otherFiles == ["README.md"])
    }

    /// The plain weights count; a variant does where there is nothing else.
    @Test func variants() throws {
        let plain = "diffusion_pytorch_model"
        let index = #"{"weight_map": {"s": "\#(plain).fp16-00001-of-00001.safetensors"}}"#
        let scratch = try scratch(
            [
                "both/\(plain).safetensors": [tensor("p", 1)], "both/\(plain).fp16.safetensors": [tensor("v", 1)],
                "only/\(plain).fp16.safetensors": [tensor("v", 1)],
                "sharded/\(plain).fp16-00001-of-00001.safetensors": [tensor("s", 1)],
            ], texts: ["sharded/\(plain).safetensors.index.fp16.json": index])
        let both = try Checkpoint.open(path: scratch("p/both"))
        #expect(both.tensors.map(\.info.name) == ["p"] && codes(both) == ["other-variant"] && !both.isPipeline)
        for (name, tensor) in [("only", "v"), ("sharded", "s")] {
            let found = try Checkpoint.open(path: scratch("p/\(name)"))
            #expect(found.tensors.map(\.info.name) == [tensor] && codes(found).isEmpty, "\(name)")
            #expect(found.weightNames(of: nil).index == "\(plain).safetensors.index.fp16.json")
        }
    }

    /// A model that merely has such a file stays a model.
    @Test func noPipeline() throws {
        let scratch = try scratch(
            ["model.safetensors": [tensor("a", 1)]], texts: ["model_index.json": "{}", "tokenizer/vocab.json": "{}"])
        let found = try Checkpoint.open(path: scratch("p"))
        #expect(!found.isPipeline && found.tensors.map(\.info.name) == ["a"])
    }
}
