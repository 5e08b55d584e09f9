/// What a tensor of a PEFT adapter file is, read from its name.
///
/// A name is `base_model.model.` + module path + suffix; wrappers of training frameworks and the adapter's own name, left
/// in by hand-made files, are taken out.
struct AdapterKey: Equatable {
    enum Role: Equatable {
        /// `lora_A.weight`: the down projection.
        case down
        /// `lora_B.weight`: the up projection.
        case up
        /// `lora_B.bias`.
        case upBias
        /// `lora_embedding_A`.
        case embeddingDown
        /// `lora_embedding_B`.
        case embeddingUp
        /// `lora_magnitude_vector`, of DoRA.
        case magnitude
        /// `trainable_tokens_delta`: replacement rows of an embedding.
        case tokenRows
        /// A whole parameter of the model, by its last name part.
        case parameter(String)
        /// `original_module`: what a replaced module was before, kept by PEFT beside an embedding that it saves.
        case original(String)
        /// Part of a change that is no product of two factors.
        case changed
        /// A tensor of another method, or of an unknown one.
        case foreign(stem: String)
    }

    /// The module's path in the model, without prefix: `model.layers.0.self_attn.q_proj`.
    var module: String
    var role: Role
    /// How many `base_layer` parts end the path: PEFT nests its wrappers for several parameters of one module.
    var depth = 0
    /// The adapter's name, where the file kept it.
    var adapterName: String?
    /// Whether the name began with PEFT's prefix.
    var hasPrefix = false
    /// Whether it is the output projection inside a wrapped `nn.MultiheadAttention`.
    var isAttentionOutput = false

    /// Tensor stems of other PEFT methods, by their distinctive name part.
    static let otherMethods: [(stem: String, method: String)] = [
        ("lora_E", "AdaLoRA"), ("ranknum", "AdaLoRA"), ("lora_diag", "KaSA"), ("ia3_l", "IA3"), ("hada_", "LoHa"),
        ("lokr_", "LoKr"), ("oft_", "OFT"), ("boft_", "BOFT"), ("hra_u", "HRA"), ("vera_lambda", "VeRA"),
        ("vera_A", "VeRA"), ("vera_B", "VeRA"), ("randlora_", "RandLoRA"), ("fourierft_", "FourierFT"),
        ("waveft_", "WaveFT"), ("vblora_", "VB-LoRA"), ("c3a_kernel", "C3A"), ("shira_", "SHiRA"), ("road_", "RoAd"),
        ("gralora_", "GraLoRA"), ("delora_", "DeLoRA"), ("miss_", "MiSS"), ("bone_", "Bone"), ("hira_", "HiRA"),
        ("glora_", "GLoRA"), ("prompt_embeddings", "prompt or prefix tuning"), ("adaption_", "adaption prompt"),
        ("adapter_down", "bottleneck adapter"), ("adapter_up", "bottleneck adapter"), ("lora_down", "kohya LoRA"),
        ("lora_up", "kohya LoRA"), ("lora_mid", "kohya LoRA"), ("lora_a", "MLX or GGUF LoRA"),
        ("lora_b", "MLX or GGUF LoRA"), ("dora_scale", "kohya DoRA"), ("ln_tuning_layers", "LN tuning"),
        ("oft_blocks", "OFT"), ("internal_xlora_classifier", "X-LoRA"), ("trainable_tokens_", "trainable tokens"),
    ]

    /// The stems by their first byte: most parts of most names share none with any of them.
    private static let stemsByByte = Dictionary(grouping: otherMethods) { $0.stem.utf8.first ?? 0 }

    private static func otherMethod(_ parts: [String]) -> String? {
        for part in parts {
            guard let byte = part.utf8.first, let stems = stemsByByte[byte] else { continue }
            if let found = stems.first(where: { part.utf8.starts(with: $0.stem.utf8) }) { return found.method }
        }
        return nil
    }

    /// What parts of adapters' names begin with, by the first byte.
    private static let beginnings = Dictionary(
        grouping: otherMethods.map { Array($0.stem.utf8) } + [Array("lora_".utf8)]
    ) {
        $0[0]
    }

    /// Whether some part of `name` begins as those of adapters do; a quick look that allocates nothing.
    static func mayBelongToAdapter(_ name: String) -> Bool {
        let bytes = name.utf8Span.span
        var isStart = true
        for at in bytes.indices {
            if isStart, let candidates = beginnings[bytes[at]] {
                for stem in candidates where begins(bytes, at, stem) { return true }
            }
            isStart = bytes[at] == UInt8(ascii: ".")
        }
        return false
    }

    private static func begins(_ bytes: Span<UInt8>, _ start: Int, _ stem: [UInt8]) -> Bool {
        guard stem.count <= bytes.count - start else { return false }
        for at in stem.indices where bytes[start + at] != stem[at] { return false }
        return true
    }

    static let wrappers: Set<String> = ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"]

    /// What a dialect's reader has found out by itself.
    init(module: String, role: Role, depth: Int = 0) {
        self.module = module
        self.role = role
        self.depth = depth
    }

    init(_ name: String) {
        var parts = name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).map {
            String(Substring($0))
        }
        if name.utf8.contains(UInt8(ascii: "_")) { parts.removeAll { Self.wrappers.contains($0) } }
        if parts.first == "module", parts.starts(with: ["module", "base_model", "model"]) { parts.removeFirst() }
        if parts.first == "base_model", parts.starts(with: ["base_model", "model"]) {
            parts.removeFirst(2)
            hasPrefix = true
        }
        role = .foreign(stem: "")
        module = ""
        if let (at, found) = Self.loraSuffix(parts) {
            (role, adapterName) = found
            (module, depth) = Self.path(parts[..<at])
            isAttentionOutput = parts[..<at].suffix(2) == ["base_layer", "out_proj"]
            if module.isEmpty { role = .foreign(stem: parts[at]) }
            return
        }
        if let method = Self.otherMethod(parts) {
            role = .foreign(stem: method)
            (module, depth) = Self.path(parts.dropLast())
            return
        }
        parameter(parts)
    }

    private mutating func parameter(_ parts: [String]) {
        var path = parts.dropLast()
        var isOriginal = false
        // `modules_to_save.NAME` stays in files that were saved by hand, without the name beside embeddings that PEFT saves.
        if path.count > 2, path[path.endIndex - 2] == "modules_to_save" {
            adapterName = path.last
            path = path.dropLast(2)
        } else if path.count > 1, path.last == "modules_to_save" {
            path = path.dropLast()
        } else if path.count > 1, path.last == "original_module" {
            path = path.dropLast()
            isOriginal = true
        }
        (module, depth) = Self.path(path)
        guard let last = parts.last, !last.isEmpty, !module.isEmpty else { return }
        role = isOriginal ? .original(last) : .parameter(last)
    }

    private static let stems: Set<String> = [
        "lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "trainable_tokens_delta",
    ]

    /// Finds the part that begins a LoRA suffix, what it means, and the adapter's name in it.
    private static func loraSuffix(_ parts: [String]) -> (at: Int, (Role, String?))? {
        for at in parts.indices.reversed() where Self.stems.contains(parts[at]) {
            let rest = parts[(at + 1)...]
            switch parts[at] {
            case "lora_A": return suffix(rest, "weight").map { (at, (.down, $0.name)) }
            case "lora_B":
                if let found = suffix(rest, "weight") { return (at, (.up, found.name)) }
                return suffix(rest, "bias").map { (at, (.upBias, $0.name)) }
            case "lora_embedding_A": return bare(rest).map { (at, (.embeddingDown, $0.name)) }
            case "lora_embedding_B": return bare(rest).map { (at, (.embeddingUp, $0.name)) }
            case "lora_magnitude_vector":
                return (bare(rest) ?? suffix(rest, "weight")).map { (at, (.magnitude, $0.name)) }
            case "trainable_tokens_delta":
                // Inside a LoRA adapter, or as a method of its own.
                let start = at > 0 && parts[at - 1] == "token_adapter" ? at - 1 : at
                return bare(rest).map { (start, (.tokenRows, $0.name)) }
            default: continue
            }
        }
        return nil
    }

    /// `weight` or `NAME.weight`.
    private static func suffix(_ rest: ArraySlice<String>, _ last: String) -> (name: String?, Void)? {
        if rest == [last] { return (nil, ()) }
        if rest.count == 2, let name = rest.first, rest.last == last { return (name, ()) }
        return nil
    }

    /// Nothing, or `NAME`.
    private static func bare(_ rest: ArraySlice<String>) -> (name: String?, Void)? {
        rest.isEmpty ? (nil, ()) : rest.count == 1 && rest.first != "weight" ? (rest.first, ()) : nil
    }

    /// Takes PEFT's `base_layer` parts out; those at the end are counted.
    private static func path(_ parts: ArraySlice<String>) -> (String, Int) {
        var rest = parts
        var depth = 0
        while rest.last == "base_layer" {
            rest = rest.dropLast()
            depth += 1
        }
        if depth > 0, rest.last == "token_adapter" { rest = rest.dropLast() }
        return (rest.filter { $0 != "base_layer" }.joined(separator: "."), depth)
    }
}
