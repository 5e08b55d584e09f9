/// The families of files that adapters come in.
public enum Dialect: String, Sendable, CaseIterable {
    /// Hugging Face PEFT: `adapter_config.json` with `adapter_model.safetensors`.
    case peft = "PEFT"
    /// kohya's sd-scripts and LyCORIS: one file, module paths with `_` for `.`, an alpha beside each pair.
    case kohya
    /// diffusers: `pytorch_lora_weights.safetensors`, whose names begin with the component.
    case diffusers
    /// mlx-lm: `adapters.safetensors`, transposed factors, a scale instead of alpha.
    case mlx = "MLX"
    /// llama.cpp: one GGUF file.
    case gguf = "GGUF"
    /// The `adapters` library: a config without `peft_type`, names with the adapter's own.
    case adapters

    /// Whether a config beside the file says what it means.
    var hasConfig: Bool { self == .peft || self == .mlx || self == .adapters }
}
