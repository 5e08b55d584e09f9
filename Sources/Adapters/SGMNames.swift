/// Names of blocks in Stability AI's original UNet, as kohya's SDXL files have them, and what diffusers calls them.
///
/// The layout is that of diffusers' conversion of SDXL: block = (n - 1) / 3 and layer = (n - 1) % 3 on the way down, n / 3 and
/// n % 3 on the way up (`loaders/lora_conversion_utils.py`).
enum SGMNames {
    /// Parts of residual blocks.
    private static let residual: [(old: String, new: String)] = [
        ("in_layers_2", "conv1"), ("emb_layers_1", "time_emb_proj"), ("out_layers_3", "conv2"),
        ("skip_connection", "conv_shortcut"), ("in_layers_0", "norm1"), ("out_layers_0", "norm2"),
    ]
    private static let others: [String: String] = [
        "time_embed_0": "time_embedding_linear_1", "time_embed_2": "time_embedding_linear_2",
        "label_emb_0_0": "add_embedding_linear_1", "label_emb_0_2": "add_embedding_linear_2",
        "input_blocks_0_0": "conv_in", "out_0": "conv_norm_out", "out_2": "conv_out",
    ]

    /// diffusers' flattened name of `MODULE.PARAMETER`; `nil` if it is no such name.
    static func diffusersName(_ name: String) -> String? {
        guard let dot = name.lastIndex(of: ".") else { return nil }
        let (module, parameter) = (String(name[..<dot]), name[dot...])
        if let other = others[module] { return other + parameter }
        let parts = module.split(separator: "_").map(String.init)
        guard parts.count >= 4, parts[1] == "blocks" || parts[1] == "block" else { return nil }
        switch parts[0] {
        case "input": return down(parts).map { $0 + parameter }
        case "middle": return middle(parts).map { $0 + parameter }
        case "output": return up(parts).map { $0 + parameter }
        default: return nil
        }
    }

    private static func down(_ parts: [String]) -> String? {
        guard let number = Int(parts[2]), number > 0, let place = Int(parts[3]) else { return nil }
        let (block, layer) = ((number - 1) / 3, (number - 1) % 3)
        let rest = parts.dropFirst(4).joined(separator: "_")
        if place == 0, rest == "op" { return "down_blocks_\(block)_downsamplers_0_conv" }
        return inner(place == 0, "down_blocks_\(block)", layer, rest)
    }

    private static func middle(_ parts: [String]) -> String? {
        guard let place = Int(parts[2]) else { return nil }
        return inner(place != 1, "mid_block", place / 2, parts.dropFirst(3).joined(separator: "_"))
    }

    private static func up(_ parts: [String]) -> String? {
        guard let number = Int(parts[2]), let place = Int(parts[3]) else { return nil }
        let (block, layer) = (number / 3, number % 3)
        let rest = parts.dropFirst(4).joined(separator: "_")
        if place > 0, rest == "conv" { return "up_blocks_\(block)_upsamplers_0_conv" }
        return inner(place == 0, "up_blocks_\(block)", layer, rest)
    }

    private static func inner(_ isResidual: Bool, _ block: String, _ layer: Int, _ rest: String) -> String? {
        guard isResidual else { return "\(block)_attentions_\(layer)_\(rest)" }
        return residual.first { $0.old == rest }.map { "\(block)_resnets_\(layer)_\($0.new)" }
    }
}
