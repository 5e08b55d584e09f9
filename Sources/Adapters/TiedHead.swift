import Problems
import Safetensors
import Tensors

/// What becomes of an output head that shares the embedding's weights.
///
/// An adapter changes the function, not the storage: when embedding and head change alike, the shared tensor changes once
/// and stays shared; when they change differently (or only one does), the head becomes a tensor of its own and the
/// merged config says `tie_word_embeddings: false`. PEFT instead adds both deltas to the shared storage.
struct TiedHead {
    let shared: SharedHead
    let adapter: Adapter
    /// Whether the checkpoint stores both, with different values.
    let isApart: Bool

    /// Gives both uses what replaces the shared tensor itself.
    ///
    /// That is a `base_layer.weight`, or an embedding that PEFT saved because the vocabulary grew. Copies of the base, which
    /// PEFT saves along with some adapters, say nothing and are dropped. Done before the deltas are placed, since these
    /// have the new shape.
    func spreadReplacement(_ resolver: inout Resolver) throws(Problem) {
        if isApart { return }
        let names = [shared.embedding.name, shared.head.name]
        var found = names.map { resolver.updates[$0]?.replacement }
        for at in names.indices {
            guard let tensor = found[at], try isCopy(tensor, &resolver) else { continue }
            found[at] = nil
            set(nil, names[at], &resolver)
        }
        guard (found[0] == nil) != (found[1] == nil) else { return }
        let at = found[0] == nil ? 1 : 0
        guard let tensor = found[at] else { return }
        if replacesStorage(tensor) {
            set(tensor, names[1 - at], &resolver)
        } else if let original = adapter.originals.first(where: { $0.tensor.shape == tensor.shape })?.tensor,
            try !isCopy(original, &resolver)
        {
            set(original, names[1 - at], &resolver)
        }
    }

    /// Whether loading the tensor changes the storage that both uses have, since no wrapper of PEFT's keeps it apart.
    private func replacesStorage(_ tensor: TensorInfo) -> Bool {
        guard let entry = adapter.replacements.first(where: { $0.tensor.name == tensor.name }) else { return false }
        return entry.isBaseLayer || !adapter.config.modulesToSave.contains { ".\(entry.module).".contains(".\($0).") }
    }

    private func set(_ tensor: TensorInfo?, _ name: String, _ resolver: inout Resolver) {
        let weight = name == shared.head.name ? shared.head : shared.embedding
        resolver.update(weight) {
            $0.replacement = tensor
            $0.replacesBase = tensor != nil
            $0.shape = tensor?.shape ?? weight.shape
        }
        if resolver.updates[name]?.isEmpty == true { resolver.updates[name] = nil }
    }

    private func isCopy(_ tensor: TensorInfo, _ resolver: inout Resolver) throws(Problem) -> Bool {
        let base = shared.embedding
        resolver.consulted.insert(base.name)
        guard tensor.shape == base.shape, tensor.dtype.kernel != nil, base.dtype.kernel != nil else { return false }
        guard let place = resolver.base.lookup(base.name) else { return false }
        return try TensorValues.equal(
            adapter.file, tensor, resolver.base.shards[place.shard].file, base, roundingTo: base.dtype)
    }

    /// Decides whether the two stay one tensor, when everything has its place.
    func settle(_ resolver: inout Resolver) throws(Problem) {
        let (embedding, head) = (shared.embedding, shared.head)
        guard resolver.updates[embedding.name] != nil || resolver.updates[head.name] != nil else { return }
        let e = resolver.updates[embedding.name] ?? TensorUpdate(of: embedding, source: embedding.name)
        var h = resolver.updates[head.name] ?? TensorUpdate(of: head, source: resolver.names.source(of: head))
        // PEFT shows replaced token rows to the tied head too, unless that has rows of its own. It goes by the config.
        if h.tokenRows == nil { h.tokenRows = e.tokenRows }
        if isApart {
            if shared.isSharedFurther && h.tokenRows != nil { return refuse(e, h, &resolver) }
            if !h.isEmpty { resolver.updates[head.name] = h }
            return
        }
        // mlx-lm's adapted embedding is the head, too, where the two are one (`LoRAEmbedding.as_linear`).
        let isShared = adapter.dialect == .mlx && h.isEmpty
        let alike = isShared ? true : try changeAlike(e, h)
        if shared.isSharedFurther, !alike || !e.terms.isEmpty || e.tokenRows != nil { return refuse(e, h, &resolver) }
        if alike {
            resolver.updates[head.name] = nil
            guard shared.isStored else { return }
            var copy = e
            copy.rename(head.name, source: head.name)
            resolver.updates[head.name] = copy
            return
        }
        if !shared.isKnown {
            return resolver.error(
                "unknown-head", example(e, h),
                "changes the input embedding and the tied output head differently, but by what name this architecture "
                    + "stores a head of its own is not known here",
                hint: "merge it with PEFT, or serve it as an adapter")
        }
        resolver.updates[head.name] = h
        for (target, source) in shared.companions {
            var copy = resolver.updates[source.name] ?? TensorUpdate(of: source, source: source.name)
            copy.rename(target, source: source.name)
            resolver.updates[target] = copy
        }
        resolver.unties = true
        resolver.error(
            "untied", example(e, h),
            "changes the input embedding and the tied output head differently, so the merged model stores '\(head.name)' "
                + "of its own and says tie_word_embeddings: false", severity: .note)
    }

    /// A tensor of the adapter that does it.
    private func example(_ e: TensorUpdate, _ h: TensorUpdate) -> TensorInfo {
        let named = { (update: TensorUpdate) in
            update.terms.first?.right.tensor ?? update.tokenRows?.tensor ?? update.replacement
        }
        return named(h) ?? named(e) ?? shared.head
    }

    private func refuse(_ e: TensorUpdate, _ h: TensorUpdate, _ resolver: inout Resolver) {
        resolver.error(
            "shared-embedding", example(e, h), SharedHead.refusal(shared.embedding.name), hint: SharedHead.refusalHint)
    }

    /// Whether the head does exactly what the embedding does.
    private func changeAlike(_ e: TensorUpdate, _ h: TensorUpdate) throws(Problem) -> Bool {
        guard e.tokenRows?.rows == h.tokenRows?.rows, e.addition == nil, h.addition == nil else { return false }
        if let a = e.tokenRows?.tensor, let b = h.tokenRows?.tensor, a != b {
            guard try TensorValues.equal(adapter.file, a, adapter.file, b) else { return false }
        }
        switch (e.replacement, h.replacement) {
        case (nil, nil): break
        case (let a?, let b?):
            guard a.shape == b.shape else { return false }
            if a != b, try !TensorValues.equal(adapter.file, a, adapter.file, b) { return false }
        default: return false
        }
        guard e.terms.count == h.terms.count else { return false }
        guard let term = e.terms.first, let other = h.terms.first else { return true }
        // `ensure_weight_tying` writes the head's factors as A = B_embᵀ, B = A_embᵀ.
        guard e.terms.count == 1, term.magnitude == nil, other.magnitude == nil, term.view == other.view else {
            return false
        }
        guard term.scale == other.scale, term.rank == other.rank else { return false }
        let file = adapter.file
        guard try TensorValues.equalTransposed(file, other.right.tensor, term.right.tensor) else { return false }
        return try TensorValues.equalTransposed(file, other.left.tensor, term.left.tensor)
    }
}
