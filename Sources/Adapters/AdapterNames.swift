/// The names that PEFT gives the tensors of an adapter's file.
package enum AdapterNames {
    private static let prefix = "base_model.model."

    /// `base_model.model.PATH.lora_A.weight`, or what stands in its place for embeddings, nested parameters and the output
    /// projection of an attention module.
    package static func down(_ module: AdapterModule, depth: Int) -> String {
        stem(module, depth) + (module.isEmbedding ? ".lora_embedding_A" : ".lora_A.weight")
    }

    /// The same for B.
    package static func up(_ module: AdapterModule, depth: Int) -> String {
        stem(module, depth) + (module.isEmbedding ? ".lora_embedding_B" : ".lora_B.weight")
    }

    /// The bias of B.
    package static func upBias(_ module: AdapterModule) -> String { stem(module, 0) + ".lora_B.bias" }

    private static func stem(_ module: AdapterModule, _ depth: Int) -> String {
        var path = module.path
        if module.repetitions > 1 { path = "\(module.patternPath).base_layer.out_proj" }
        return prefix + path + String(repeating: ".base_layer", count: depth)
    }

    /// A new pair of factors of a linear layer, a convolution, or nested parameters.
    package static func stem(path: String, depth: Int = 0) -> String {
        prefix + path + String(repeating: ".base_layer", count: depth)
    }

    /// A parameter that is saved whole.
    package static func saved(_ name: String) -> String { prefix + name }

    /// The name as PEFT writes it, without what hand-made files and training frameworks leave in it.
    package static func canonical(_ name: String) -> String {
        let key = AdapterKey(name)
        var parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        parts.removeAll { AdapterKey.wrappers.contains($0) }
        if parts.starts(with: ["module", "base_model"]) { parts.removeFirst() }
        if parts.starts(with: ["base_model", "model"]) { parts.removeFirst(2) }
        if let own = key.adapterName, let at = parts.lastIndex(of: own) { parts.remove(at: at) }
        parts.removeAll { $0 == "modules_to_save" }
        return prefix + parts.joined(separator: ".")
    }
}
