/// Parts of names that transformers 5 has in memory, where adapters take them from, and those that checkpoints have.
///
/// Only renamings of single weights are here. Where one stored tensor becomes several in memory (a fused `qkv`), no
/// low-rank delta of one of them is a delta of the whole, and such adapters are refused as unmatched.
enum RenamedParts {
    /// As found by building the model classes of transformers 5.23 and asking for the names under which they save.
    private static let pairs: [(memory: String, stored: String)] = [
        // ViT, DeiT, BEiT, AST and their kin; Swin; DINOv2
        ("attention.q_proj", "attention.attention.query"), ("attention.q_proj", "attention.self.query"),
        ("attention.q_proj", "attention.query"),
        ("attention.k_proj", "attention.attention.key"), ("attention.k_proj", "attention.self.key"),
        ("attention.k_proj", "attention.key"),
        ("attention.v_proj", "attention.attention.value"), ("attention.v_proj", "attention.self.value"),
        ("attention.v_proj", "attention.value"),
        ("attention.o_proj", "attention.output.dense"),
        ("mlp.fc1", "intermediate.dense"), ("mlp.fc2", "output.dense"),
        // DETR's kin
        ("mlp.fc1", "fc1"), ("mlp.fc2", "fc2"), ("self_attn.o_proj", "self_attn.out_proj"),
        // Mixtral, MiniMax
        ("mlp.gate", "block_sparse_moe.gate"), ("mlp.experts", "block_sparse_moe.experts"),
        ("mlp.shared_experts", "block_sparse_moe.shared_experts"),
        // GraniteMoE, Aria: fused experts
        ("experts.gate_up_proj", "input_linear.weight"), ("experts.down_proj", "output_linear.weight"),
        ("experts.gate_up_proj", "experts.fc1.weight"), ("experts.down_proj", "experts.fc2.weight"),
        ("router", "router.layer"),
        // Kimi Linear, GLM 5
        ("self_attn.forget_gate.f_a_proj", "self_attn.f_a_proj"),
        ("self_attn.forget_gate.f_b_proj", "self_attn.f_b_proj"),
    ]

    /// Other names that a weight with this name may have in a checkpoint, in both directions.
    static func alternatives(to name: String) -> [String] {
        var result: [String] = []
        for (memory, stored) in pairs {
            for (old, new) in [(memory, stored), (stored, memory)] {
                guard let changed = replacing(old, by: new, in: name), !result.contains(changed) else { continue }
                result.append(changed)
            }
        }
        return result
    }

    /// `name` with whole parts exchanged, or `nil` if they are not in it.
    private static func replacing(_ old: String, by new: String, in name: String) -> String? {
        let (bytes, part, dot) = (name.utf8, old.utf8, UInt8(ascii: "."))
        guard part.count <= bytes.count else { return nil }
        var start = bytes.startIndex
        while true {
            let rest = bytes[start...]
            if rest.starts(with: part) {
                let end = bytes.index(start, offsetBy: part.count)
                if end == bytes.endIndex || bytes[end] == dot { return name[..<start] + new + name[end...] }
            }
            guard let next = rest.firstIndex(of: dot) else { return nil }
            start = bytes.index(after: next)
        }
    }
}
