import Safetensors

/// What modules of a model are, and what they are called once transformers has loaded it: adapters use those names.
package struct ModelNaming: Sendable {
    private let traits: BaseTraits
    private let renames: [Rename]

    /// One renaming of whole parts of names.
    private struct Rename: Sendable {
        let stored: [Substring]
        let memory: [Substring]
        let isAtStart: Bool
    }

    /// Reads the renames of the model's type.
    package init(_ traits: BaseTraits) {
        self.traits = traits
        let row = (traits.architectures.prefix(1) + [traits.modelType].compactMap { $0 }).lazy.compactMap { name in
            StoredNames.rows.first { $0.types.split(whereSeparator: \.isWhitespace).contains(name[...]) }
        }.first
        renames = (row?.pairs ?? "").split(whereSeparator: \.isWhitespace).map { pair in
            let isAtStart = pair.first == "^"
            let ends = (isAtStart ? pair.dropFirst() : pair).split(separator: "=", omittingEmptySubsequences: false)
            let parts = { (text: Substring) in text.split(separator: ".") }
            return Rename(stored: parts(ends[0]), memory: ends.count > 1 ? parts(ends[1]) : [], isAtStart: isAtStart)
        }
    }

    /// Whether anything is called otherwise in memory.
    var hasRenames: Bool { !renames.isEmpty }

    /// The name in memory of a tensor or module that is stored as `name`.
    package func memoryName(_ name: String) -> String {
        if let tie = traits.tiedNames, tie.head != tie.memory {
            let (stored, memory) = (ParameterName.module(of: tie.head), ParameterName.module(of: tie.memory))
            if name.hasPrefix(stored + "."), !name.dropFirst(stored.utf8.count + 1).contains(".") {
                return memory + name.dropFirst(stored.utf8.count)
            }
        }
        guard !renames.isEmpty else { return name }
        var parts = name.split(separator: ".", omittingEmptySubsequences: false)
        for rename in renames {
            let count = rename.stored.count
            guard count <= parts.count else { continue }
            let last = rename.isAtStart ? 0 : parts.count - count
            guard let at = (0...last).first(where: { Self.matches(parts[$0..<($0 + count)], rename.stored) }) else {
                continue
            }
            // A star stands for a number, which goes to the star on the other side.
            var numbers = zip(parts[at..<(at + count)], rename.stored).filter { $1 == "*" }.map(\.0)[...]
            let renamed = rename.memory.map { $0 == "*" ? numbers.popFirst() ?? $0 : $0 }
            parts.replaceSubrange(at..<(at + count), with: renamed)
        }
        return parts.joined(separator: ".")
    }

    private static func matches(_ parts: ArraySlice<Substring>, _ pattern: [Substring]) -> Bool {
        zip(parts, pattern).allSatisfy { part, wanted in
            wanted == "*" ? !part.isEmpty && part.utf8.allSatisfy { (0x30...0x39).contains($0) } : part == wanted
        }
    }

    /// What sort of layer a two-dimensional weight belongs to, by its module's name in memory.
    package enum Kind: Sendable { case linear, embedding, other }

    /// Whether the module is a linear layer, an embedding, or neither.
    package func kind(_ module: String) -> Kind {
        if traits.isHead(module) { return .linear }
        let parts = module.split(separator: ".").filter { !$0.utf8.allSatisfy { (0x30...0x39).contains($0) } }
        let last = parts.last.map(String.init) ?? ""
        let ending = parts.suffix(2).joined(separator: ".")
        if EmbeddingNames.embeddingEndings.contains(ending) { return .embedding }
        if EmbeddingNames.otherEndings.contains(ending) || EmbeddingNames.others.contains(last) { return .other }
        return EmbeddingNames.embeddings.contains(last) ? .embedding : .linear
    }

    /// Whether linear layers of the body are stored (in × out).
    package var usesConv1D: Bool { traits.usesConv1D }
    /// Whether fused experts are stored (expert × in × out).
    package var usesTransposedExperts: Bool { traits.usesTransposedExperts }

    /// Whether the model reads the weights or the sizes of this layer itself, so that PEFT cannot wrap it, or the wrapper is
    /// never called.
    package func readsItself(_ module: String, isConvolution: Bool) -> Bool {
        let (type, last) = (traits.modelType ?? "", BaseTraits.lastPart(module))
        // PEFT refuses these by name (`tuners/lora/model.py`, 0.21.2).
        if ["mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h"].contains(type) {
            return ["out_proj", "conv1d", "dt_proj"].contains(last)
        }
        if type == "jamba" { return last == "dt_proj" }
        return isConvolution && ["whisper", "mobilenet_v1", "mobilenet_v2"].contains(type)
    }

    /// The tasks that PEFT has classes for, by the model's class; `nil` for others, which need none.
    package var taskType: String? {
        let name = traits.architectures.first ?? ""
        return name.hasSuffix("ForCausalLM") || name.hasSuffix("LMHeadModel") ? "CAUSAL_LM" : nil
    }
}
