import Fixtures
import Foundation

/// A made-up pipeline of diffusers, and a PEFT adapter whose modules are in two of its components.
struct PipelineModel {
    static let adapted = [
        "unet.down_blocks.0.attn.to_q": [4, 6], "text_encoder.text_model.layers.0.q_proj": [6, 6],
    ]

    /// All files but the directories, by path.
    var files: [String: [UInt8]] = [:]

    init() {
        let texts = [
            "model_index.json": #"{"_class_name": "MadeUpPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}"#,
            "README.md": "# A pipeline\n", "scheduler/scheduler_config.json": #"{"_class_name": "DDIMScheduler"}"#,
            "tokenizer/vocab.json": "{}", "tokenizer/merges.txt": "",
            "unet/config.json": #"{"_class_name": "UNet2DConditionModel"}"#,
            "vae/config.json": #"{"_class_name": "AutoencoderKL"}"#,
            "text_encoder/config.json": #"{"architectures": ["CLIPTextModel"], "torch_dtype": "float32"}"#,
            "text_encoder_2/config.json": #"{"architectures": ["CLIPTextModelWithProjection"]}"#,
            "safety_checker/pytorch_model.bin": "a pickle",
        ]
        for (path, text) in texts { files[path] = Array(text.utf8) }
        var random = SeededRandom(31)
        func tensor(_ name: String, _ shape: Int..., dtype: String = "F32") -> TensorFile.Tensor {
            let values = (0..<shape.reduce(1, *)).map { _ in Double(random.below(64)) / 8 - 4 }
            return TensorFile.Tensor(name, dtype, shape, values)
        }
        files["unet/diffusion_pytorch_model.safetensors"] =
            TensorFile(
                [
                    tensor("conv_in.weight", 4, 3, 1, 1), tensor("down_blocks.0.attn.to_q.weight", 4, 6),
                    tensor("down_blocks.0.attn.to_k.weight", 4, 6),
                ], metadata: ["format": "pt", "made": "up"]
            ).encoded
        files["vae/diffusion_pytorch_model.safetensors"] =
            TensorFile([tensor("down_blocks.0.attn.to_q.weight", 4, 6)], metadata: [:]).encoded
        files["text_encoder/model.safetensors"] =
            TensorFile(
                [tensor("text_model.layers.0.q_proj.weight", 6, 6), tensor("text_model.layers.0.q_proj.bias", 6)]
            ).encoded
        files["text_encoder/model.fp16.safetensors"] =
            TensorFile([tensor("text_model.layers.0.q_proj.weight", 6, 6, dtype: "F16")]).encoded
        let names = (1...2).map { "model-0000\($0)-of-00002.safetensors" }
        files["text_encoder_2/" + names[0]] =
            TensorFile([tensor("text_model.layers.0.q_proj.weight", 6, 6)]).encoded
        files["text_encoder_2/" + names[1]] = TensorFile([tensor("text_projection.weight", 2, 6)]).encoded
        files["text_encoder_2/model.safetensors.index.json"] = Array(
            #"""
            {"metadata": {"total_size": 192}, "weight_map": {"text_model.layers.0.q_proj.weight": "\#(names[0])",
            "text_projection.weight": "\#(names[1])"}}
            """#.utf8)
    }

    /// Writes the pipeline; its path.
    func write(as name: String = "base", in scratch: Scratch) throws -> String {
        for (path, bytes) in files {
            let directory = path.split(separator: "/").dropLast().joined(separator: "/")
            try scratch.directory("\(name)/\(directory)")
            try Fixtures.write(bytes, to: scratch("\(name)/\(path)"))
        }
        return scratch(name)
    }

    /// Writes an adapter of rank 1 and scale 2 that adds 2 · (i + 1) · j to element (i, j) of its modules' weights.
    static func writeAdapter(
        _ modules: [String: [Int]] = adapted, as name: String = "adapter", in scratch: Scratch
    ) throws -> String {
        let directory = try scratch.directory(name)
        let tensors = modules.sorted { $0.key < $1.key }.flatMap { module, shape in
            [
                TensorFile.Tensor(Pair.key(module, "A"), "F32", [1, shape[1]], (0..<shape[1]).map(Double.init)),
                TensorFile.Tensor(Pair.key(module, "B"), "F32", [shape[0], 1], (0..<shape[0]).map { Double($0 + 1) }),
            ]
        }
        try TensorFile(tensors).write(to: directory + "/adapter_model.safetensors")
        let targets = Set(modules.keys.map { String($0.split(separator: ".").last ?? "") }).sorted()
        let config: [String: Any] = ["peft_type": "LORA", "r": 1, "lora_alpha": 2, "target_modules": targets]
        try Fixtures.write(
            [UInt8](try JSONSerialization.data(withJSONObject: config)), to: directory + "/adapter_config.json")
        return directory
    }

    /// What that adapter makes of a weight.
    static func merged(_ weight: TensorFile.Tensor) -> [Double] {
        weight.values.enumerated().map { at, value in
            value + 2 * Double(at / weight.shape[1] + 1) * Double(at % weight.shape[1])
        }
    }
}
