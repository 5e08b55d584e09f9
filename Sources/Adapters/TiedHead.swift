import Problems
import Safetensors
import Tensors

/// The output head of a base whose config ties it to the input embedding, so that the checkpoint stores it once.
///
/// An adapter changes the function, not the storage: when embedding and head change alike, the shared tensor changes once
/// and stays shared; when they change differently (or only one does), the head becomes a tensor of its own and the
/// merged config says `tie_word_embeddings: false`. PEFT instead adds both deltas to the shared storage.
public struct TiedHead {
    let traits: BaseTraits
    let adapter: Adapter

    /// Whether `module` is an output head by its name.
    static func isHead(_ module: String) -> Bool {
        BaseTraits.headNames.contains(String(module.split(separator: ".").last ?? ""))
    }

    /// The shared tensor of a tied base that does not store its head.
    public static func sharedEmbedding(_ base: Checkpoint, _ traits: BaseTraits) -> TensorInfo? {
        guard traits.isTied else { return nil }
        var found: [TensorInfo] = []
        for entry in base.tensors where entry.info.shape.count == 2 && entry.info.name.hasSuffix(".weight") {
            let module = String(entry.info.name.dropLast(7))
            let last = String(module.split(separator: ".").last ?? "")
            if isHead(module) && last != "output" { return nil }
            if BaseTraits.embeddingNames.contains(last) { found.append(entry.info) }
        }
        return found.first { !$0.name.contains("encoder") && !$0.name.contains("vision") } ?? found.first
    }

    /// Decides what becomes of the shared tensor, and adds the head's own if they part.
    func settle(_ resolver: inout Resolver) {
        guard traits.isTied else { return }
        let module = adapter.modules.first { Self.isHead($0.path) && !resolver.isPlaced($0) }
        let stored = adapter.replacements.first { Self.isHead($0.module) && $0.parameter == "weight" }
        guard let shared = Self.sharedEmbedding(resolver.base, traits) else {
            if let module, resolver.base.lookup(module.path + ".weight") == nil {
                resolver.absent(module.down, module.path + ".weight")
            }
            return
        }
        var embedding = resolver.updates[shared.name]
        if embedding == nil && module == nil && stored == nil { return }
        do throws(Problem) {
            var head = stored?.tensor
            // Copies of the base that PEFT saves along say nothing new.
            if let copy = head, try isCopy(copy, of: shared, resolver) { head = nil }
            if let copy = embedding?.replacement, try isCopy(copy, of: shared, resolver) {
                embedding?.replacement = nil
                embedding?.shape = shared.shape
                if embedding?.terms.isEmpty == true && embedding?.tokenRows == nil { embedding = nil }
            }
            resolver.updates[shared.name] = embedding
            if try changeAlike(embedding, module, head) { return }
            try separate(&resolver, shared, embedding, module, head)
        } catch {
            resolver.problems.append(error)
        }
    }

    private func isCopy(_ tensor: TensorInfo, of shared: TensorInfo, _ resolver: Resolver) throws(Problem) -> Bool {
        guard tensor.shape == shared.shape, let place = resolver.base.lookup(shared.name) else { return false }
        return try TensorValues.equal(
            adapter.file, tensor, resolver.base.shards[place.shard].file, shared, roundingTo: shared.dtype)
    }

    /// Whether the head does exactly what the embedding does.
    private func changeAlike(_ embedding: TensorUpdate?, _ module: AdapterModule?, _ head: TensorInfo?) throws(Problem)
        -> Bool
    {
        if embedding == nil && module == nil && head == nil { return true }
        if module == nil && head == nil, let embedding {
            // PEFT shares replaced token rows with the tied head.
            return embedding.terms.isEmpty && embedding.replacement == nil && embedding.addition == nil
        }
        guard let embedding else { return false }
        switch (embedding.replacement, head) {
        case (nil, nil): break
        case (let a?, let b?):
            guard a.shape == b.shape, try TensorValues.equal(adapter.file, a, adapter.file, b) else { return false }
        default: return false
        }
        guard let module else { return embedding.terms.isEmpty }
        guard embedding.terms.count == 1, module.magnitude == nil, embedding.terms[0].magnitude == nil else {
            return false
        }
        return try factorsAgree(embedding.terms[0], module)
    }

    /// `ensure_weight_tying` writes the head's factors as A = B_embᵀ, B = A_embᵀ.
    private func factorsAgree(_ term: LowRankTerm, _ module: AdapterModule) throws(Problem) -> Bool {
        let (embeddingB, embeddingA) = (term.right.tensor, term.left.tensor)
        let config = ScaleResolver(config: adapter.config, file: adapter.configPath)
        guard config.alpha(of: module.path) == term.alpha, module.down.shape[0] == term.rank else { return false }
        guard try TensorValues.equalTransposed(adapter.file, module.down, embeddingB) else { return false }
        return try TensorValues.equalTransposed(adapter.file, module.up, embeddingA)
    }

    private func separate(
        _ resolver: inout Resolver, _ shared: TensorInfo, _ embedding: TensorUpdate?, _ module: AdapterModule?,
        _ head: TensorInfo?
    ) throws(Problem) {
        let path = module?.path ?? "lm_head"
        let name = (traits.modelType == "gpt_neox" && module == nil ? "embed_out" : path) + ".weight"
        var update = TensorUpdate(name: name, source: shared.name, shape: head?.shape ?? shared.shape)
        update.replacement = head
        update.tokenRows = embedding?.tokenRows
        resolver.updates[name] = update
        if let module {
            let rank = resolver.scales.rank(of: module.path)
            resolver.checkRank(module, expected: rank)
            guard let fit = ModuleFit(module, shape: update.shape, rank: rank), !module.isEmbedding else {
                let found = FitExplanation.explain(
                    module, base: shared, rank: rank, baseModel: adapter.config.baseModel)
                return resolver.error("shape-mismatch", found.tensor, found.message, hint: found.hint)
            }
            // A head is a linear layer in every architecture: (vocabulary × dimension).
            let term = resolver.makeTerm(
                module, shape: update.shape, fit: fit == .columnsAreOutputs ? fit : .rowsAreOutputs)
            resolver.updates[name]?.terms = [term]
            if let bias = module.upBias {
                resolver.error("no-bias", bias, "adds to a bias, but the base's tied head has none")
            }
        }
        resolver.unties = true
        resolver.problems.append(
            Problem(
                .note, .incompatible, "untied", file: adapter.path,
                tensor: (module?.down ?? embedding?.replacement ?? head)?.name,
                "changes the input embedding and the tied output head differently, so the merged model stores '\(name)' "
                    + "of its own and says tie_word_embeddings: false"))
    }
}

extension Resolver {
    /// Whether the pair already has a place among the base's stored tensors.
    func isPlaced(_ module: AdapterModule) -> Bool { owners.values.contains(module.path) }
}
