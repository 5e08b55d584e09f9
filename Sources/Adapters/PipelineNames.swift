import Safetensors

/// What names that begin with a component of a pipeline mean.
enum PipelineNames {
    /// Names of components that adapters are made for, which a pipeline need not have.
    private static let known: Set<Substring> = [
        "unet", "transformer", "transformer_2", "text_encoder", "text_encoder_2", "text_encoder_3", "text_encoder_4",
        "vae", "controlnet", "prior",
    ]

    /// The component that a name begins with, and its dot; `nil` if it begins with none.
    static func component(of name: String, in pipeline: Checkpoint) -> String? {
        guard let first = name.split(separator: ".").first else { return nil }
        let isOwn = pipeline.component(of: name) != nil
        return isOwn || known.contains(first) ? first + "." : nil
    }
}
