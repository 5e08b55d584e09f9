/// What flattened paths of kohya's and LyCORIS's files begin with, and which part of a pipeline that stands for.
struct KohyaPrefix {
    /// A part of a pipeline, under whatever name a base has it.
    enum Part {
        case unet, text1, text2, text3, any
    }

    /// `lora_unet_` and the like.
    let text: String
    /// The part.
    let part: Part
    /// What diffusers calls the part; `nil` where the prefix does not tell.
    let component: String?

    private static let all = [
        KohyaPrefix(text: "lora_unet_", part: .unet, component: "unet"),
        KohyaPrefix(text: "lora_transformer_", part: .unet, component: "transformer"),
        KohyaPrefix(text: "lora_prior_unet_", part: .unet, component: "prior"),
        KohyaPrefix(text: "lora_te1_", part: .text1, component: "text_encoder"),
        KohyaPrefix(text: "lora_te2_", part: .text2, component: "text_encoder_2"),
        KohyaPrefix(text: "lora_te3_", part: .text3, component: "text_encoder_3"),
        KohyaPrefix(text: "lora_te_", part: .text1, component: "text_encoder"),
        KohyaPrefix(text: "lora_prior_te_", part: .text1, component: nil),
        KohyaPrefix(text: "lora_llm_", part: .text1, component: nil),
        KohyaPrefix(text: "lora_controlnet_", part: .any, component: "controlnet"),
        KohyaPrefix(text: "lycoris_", part: .any, component: nil),
    ]

    /// The prefix of a name; `nil` if it has none of them.
    static func of(_ name: some StringProtocol) -> KohyaPrefix? { all.first { name.hasPrefix($0.text) } }
}
