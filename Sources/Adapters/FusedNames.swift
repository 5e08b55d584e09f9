/// Modules that the original repositories of FLUX and SD3 keep as one and diffusers as several, or under other names; what
/// kohya's files name is the original's (diffusers `loaders/lora_conversion_utils.py`).
enum FusedNames {
    /// Original name with `N` for the block's number, and diffusers' parts in the order of their rows.
    private static let flux: [(old: String, new: [String])] = [
        ("double_blocks_N_img_attn_qkv", qkv("transformer_blocks.N.attn.to_")),
        ("double_blocks_N_txt_attn_qkv", added("transformer_blocks.N.attn.add_")),
        ("double_blocks_N_img_attn_proj", ["transformer_blocks.N.attn.to_out.0"]),
        ("double_blocks_N_txt_attn_proj", ["transformer_blocks.N.attn.to_add_out"]),
        ("double_blocks_N_img_mlp_0", ["transformer_blocks.N.ff.net.0.proj"]),
        ("double_blocks_N_img_mlp_2", ["transformer_blocks.N.ff.net.2"]),
        ("double_blocks_N_txt_mlp_0", ["transformer_blocks.N.ff_context.net.0.proj"]),
        ("double_blocks_N_txt_mlp_2", ["transformer_blocks.N.ff_context.net.2"]),
        ("double_blocks_N_img_mod_lin", ["transformer_blocks.N.norm1.linear"]),
        ("double_blocks_N_txt_mod_lin", ["transformer_blocks.N.norm1_context.linear"]),
        (
            "single_blocks_N_linear1",
            qkv("single_transformer_blocks.N.attn.to_") + ["single_transformer_blocks.N.proj_mlp"]
        ),
        ("single_blocks_N_linear2", ["single_transformer_blocks.N.proj_out"]),
        ("single_blocks_N_modulation_lin", ["single_transformer_blocks.N.norm.linear"]),
        ("img_in", ["x_embedder"]), ("txt_in", ["context_embedder"]),
        ("time_in_in_layer", ["time_text_embed.timestep_embedder.linear_1"]),
        ("time_in_out_layer", ["time_text_embed.timestep_embedder.linear_2"]),
        ("vector_in_in_layer", ["time_text_embed.text_embedder.linear_1"]),
        ("vector_in_out_layer", ["time_text_embed.text_embedder.linear_2"]),
        ("guidance_in_in_layer", ["time_text_embed.guidance_embedder.linear_1"]),
        ("guidance_in_out_layer", ["time_text_embed.guidance_embedder.linear_2"]),
        ("final_layer_linear", ["proj_out"]),
    ]
    private static let sd3: [(old: String, new: [String])] = [
        ("joint_blocks_N_x_block_attn_qkv", qkv("transformer_blocks.N.attn.to_")),
        ("joint_blocks_N_x_block_attn2_qkv", qkv("transformer_blocks.N.attn2.to_")),
        ("joint_blocks_N_context_block_attn_qkv", added("transformer_blocks.N.attn.add_")),
        ("joint_blocks_N_x_block_attn_proj", ["transformer_blocks.N.attn.to_out.0"]),
        ("joint_blocks_N_x_block_attn2_proj", ["transformer_blocks.N.attn2.to_out.0"]),
        ("joint_blocks_N_context_block_attn_proj", ["transformer_blocks.N.attn.to_add_out"]),
        ("joint_blocks_N_x_block_mlp_fc1", ["transformer_blocks.N.ff.net.0.proj"]),
        ("joint_blocks_N_x_block_mlp_fc2", ["transformer_blocks.N.ff.net.2"]),
        ("joint_blocks_N_context_block_mlp_fc1", ["transformer_blocks.N.ff_context.net.0.proj"]),
        ("joint_blocks_N_context_block_mlp_fc2", ["transformer_blocks.N.ff_context.net.2"]),
        ("joint_blocks_N_x_block_adaLN_modulation_1", ["transformer_blocks.N.norm1.linear"]),
        ("joint_blocks_N_context_block_adaLN_modulation_1", ["transformer_blocks.N.norm1_context.linear"]),
        ("x_embedder_proj", ["pos_embed.proj"]), ("final_layer_linear", ["proj_out"]),
        ("t_embedder_mlp_0", ["time_text_embed.timestep_embedder.linear_1"]),
        ("t_embedder_mlp_2", ["time_text_embed.timestep_embedder.linear_2"]),
        ("y_embedder_mlp_0", ["time_text_embed.text_embedder.linear_1"]),
        ("y_embedder_mlp_2", ["time_text_embed.text_embedder.linear_2"]),
    ]

    private static func qkv(_ stem: String) -> [String] { ["q", "k", "v"].map { stem + $0 } }
    private static func added(_ stem: String) -> [String] { ["q_proj", "k_proj", "v_proj"].map { stem + $0 } }

    /// diffusers' modules, in the order of their rows, for an original flattened name; `nil` if it is none.
    static func parts(of flattened: String) -> [[String]] {
        var number: Substring?
        let parts = flattened.split(separator: "_", omittingEmptySubsequences: false).enumerated().map { at, part in
            guard at == 2, !part.isEmpty, part.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return part }
            number = part
            return "N"
        }
        let pattern = parts.joined(separator: "_")
        return (flux + sd3).filter { $0.old == pattern }.map { entry in
            entry.new.map { name in
                name.split(separator: ".").map { $0 == "N" ? number ?? $0 : $0 }.joined(separator: ".")
            }
        }
    }

    /// OpenCLIP's name of a text encoder's module, and which third of its rows it is where q, k and v are one parameter.
    static func openCLIP(_ flattened: String) -> (parameter: String, third: Int?)? {
        let stem = "text_model_encoder_layers_"
        guard flattened.hasPrefix(stem) else { return nil }
        let rest = flattened.dropFirst(stem.count)
        guard let end = rest.firstIndex(of: "_") else { return nil }
        let block = "transformer.resblocks.\(rest[..<end])."
        switch rest[rest.index(after: end)...] {
        case "self_attn_q_proj": return (block + "attn.in_proj_weight", 0)
        case "self_attn_k_proj": return (block + "attn.in_proj_weight", 1)
        case "self_attn_v_proj": return (block + "attn.in_proj_weight", 2)
        case "self_attn_out_proj": return (block + "attn.out_proj.weight", nil)
        case "mlp_fc1": return (block + "mlp.c_fc.weight", nil)
        case "mlp_fc2": return (block + "mlp.c_proj.weight", nil)
        default: return nil
        }
    }
}
