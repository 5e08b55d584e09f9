import Safetensors

/// The output head of a base whose config ties it to the input embedding, so that the checkpoint mostly stores one of them.
public struct SharedHead: Sendable {
    /// The head's weight (vocabulary × dimension): as stored, or as it would be if it parted from the embedding.
    public let head: TensorInfo
    /// The embedding's weight (vocabulary × dimension), which the checkpoint stores.
    public let embedding: TensorInfo
    /// Whether the checkpoint stores the head as well.
    public let isStored: Bool
    /// Whether the architecture is known, and with it the name that a head of its own has.
    let isKnown: Bool
    /// Whether more places than these two use the embedding, as in encoder-decoder models.
    let isSharedFurther: Bool
    /// Tensors that would have to be stored too if the head parted, with those that they share.
    let companions: [(target: String, source: TensorInfo)]

    /// Looks for the shared tensor of a tied `base`; `nil` if nothing is tied or no embedding is found.
    ///
    /// - Parameter named: the head's name as the adapter has it, for architectures that are not known.
    public init?(_ base: Checkpoint, _ traits: BaseTraits, named: String? = nil) {
        guard traits.isTied, let embedding = Self.embedding(base, traits) else { return nil }
        self.embedding = embedding
        let row = traits.tie
        let names = row.map { [$0.head, $0.memory] } ?? Self.headNames(base)
        let stored = names.lazy.compactMap { base.lookup($0)?.info }.first { $0.shape.count == 2 }
        isStored = stored != nil
        isKnown = row != nil || named != nil
        isSharedFurther = row?.isSharedFurther ?? false
        let name = row.map { Self.name($0, beside: embedding.name) } ?? named ?? "lm_head.weight"
        head =
            stored
            ?? TensorInfo(
                name: name, dtype: embedding.dtype, shape: embedding.shape, begin: embedding.begin, end: embedding.end)
        companions = traits.headCompanions.compactMap { target, source in
            guard base.lookup(target) == nil, let stored = base.lookup(source) else { return nil }
            return (target, stored.info)
        }
    }

    /// Why nothing is done to an embedding that encoder, decoder and head share.
    static func refusal(_ name: String) -> String {
        "changes some of the places that use '\(name)', which this architecture shares between encoder, decoder and head; "
            + "whether a loader keeps them apart depends on its version, so no merged checkpoint would mean the same everywhere"
    }

    static let refusalHint = "serve it as an adapter"

    /// The name by which this checkpoint would store the head: some are saved with the names that the model has in memory.
    private static func name(_ row: TiedArchitectures.Row, beside embedding: String) -> String {
        let prefix = row.head.split(separator: ".").dropLast(2).joined(separator: ".")
        let isForeign = !row.memory.isEmpty && !prefix.isEmpty && !embedding.hasPrefix(prefix + ".")
        return isForeign ? row.memory : row.head
    }

    private static func embedding(_ base: Checkpoint, _ traits: BaseTraits) -> TensorInfo? {
        let matrices = base.tensors.lazy.map(\.info).filter { $0.shape.count == 2 && $0.name.hasSuffix(".weight") }
        let found = matrices.filter { info in
            if let end = traits.tie?.embedding { return info.name == end || info.name.hasSuffix("." + end) }
            return BaseTraits.embeddingNames.contains(BaseTraits.lastPart(String(info.name.dropLast(7))))
        }
        return found.first { !$0.name.contains("encoder") && !$0.name.contains("vision") } ?? found.first
    }

    private static func headNames(_ base: Checkpoint) -> [String] {
        base.tensors.map(\.info.name).filter { name in
            guard name.hasSuffix(".weight") else { return false }
            let last = BaseTraits.lastPart(String(name.dropLast(7)))
            // BERT's layers have an `output` each.
            return BaseTraits.headNames.contains(last) && last != "output"
        }
    }
}
