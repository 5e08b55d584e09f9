import Files
import Models
import Problems
import Serving

/// A model of the Llama family that answers with logits: a snapshot of a served model, with its layers fetched once.
///
/// Activations are float32, each rounded once from sums in float64. What a position gives depends on the positions before
/// it alone, not on how many are computed at once, nor on threads: with a cache come the same bits as without.
public struct Decoder: Sendable {
    /// The sizes.
    public let config: LlamaConfig
    /// Ids that have a row in the embedding.
    public var vocabulary: Int { embedding.vocabulary }
    /// Numbers of a position's logits.
    public var logitCount: Int { head.outputs }
    /// Positions that hooks put before the text.
    public let prefixLength: Int
    private let embedding: EmbeddingLayer
    private let blocks: [DecoderBlock]
    private let norm: [Float]
    private let head: LinearLayer
    private let hooks: [any BlockHooks]
    private let attention: Attention

    /// Positions that are computed at once; it bounds the memory, and nothing else shows it.
    private static let stepLength = 128
    /// Logits that are in memory at once where all positions are asked for.
    private static let stepLogits = 1 << 22

    /// Fetches the layers of a snapshot.
    ///
    /// - Parameters:
    ///   - hooks: applied in this order; only one may bring positions before the text.
    ///   - threads: how many compute attention together.
    /// - Throws: `no-tensor`, `shape-mismatch` and what reading meets; `several-prefixes`.
    public init(
        _ snapshot: ModelSnapshot, _ config: LlamaConfig, hooks: [any BlockHooks] = [], threads: Int = 1
    ) throws(Problem) {
        let prefixes = hooks.filter { $0.prefixLength > 0 }
        guard prefixes.count <= 1 else {
            throw Problem(
                .incompatible, "several-prefixes",
                "there are \(prefixes.count) prefixes, but only one can stand before a text",
                hint: "use one prefix at a time")
        }
        let layers = LayerFetcher(snapshot, config)
        self.config = config
        self.hooks = hooks
        prefixLength = prefixes.first?.prefixLength ?? 0
        attention = Attention(config: config, threads: threads)
        embedding = try layers.embedding()
        blocks = try (0..<config.layers).map { (layer) throws(Problem) in try layers.block(layer) }
        norm = try layers.norm(LlamaNames.finalNorm)
        head = try layers.head()
    }

    /// A cache of no text: empty, or what a prefix puts there.
    public func newCache() -> KeyValueCache {
        var cache = KeyValueCache(
            layers: [KeyValueCache.Layer](repeating: .init(), count: config.layers), count: prefixLength)
        for hook in hooks where hook.prefixLength > 0 {
            for layer in 0..<config.layers {
                let (keys, values) = hook.prefix(ofLayer: layer)
                cache.layers[layer] = .init(keys: keys, values: values)
            }
        }
        return cache
    }

    /// Refuses ids that have no row, and texts that are longer than the model was made for.
    public func check(_ ids: [Int]) throws(Problem) {
        if let bad = ids.first(where: { !(0..<vocabulary).contains($0) }) {
            throw Problem(
                .incompatible, "no-token", "the id \(bad) is outside of the vocabulary of \(vocabulary) ids",
                hint: "ids go from 0 to \(vocabulary - 1); was the text made into ids with another model's tokenizer?")
        }
        guard let limit = config.positions, prefixLength + ids.count > limit else { return }
        let before = prefixLength > 0 ? " and stands behind a prefix of \(prefixLength)" : ""
        throw Problem(
            .incompatible, "too-long",
            "the text has \(ids.count) tokens\(before), but the model was made for \(limit) (max_position_embeddings)",
            hint: "shorten the text")
    }

    /// The logits of the last of `ids`, which follow what is in the cache.
    public func next(_ ids: [Int], _ cache: inout KeyValueCache) throws(Problem) -> [Float] {
        var last: [Float] = []
        for start in stride(from: 0, to: ids.count, by: Self.stepLength) {
            if ids.count > 1 { try checkInterrupted() }
            last = try hidden(ids[start..<min(ids.count, start + Self.stepLength)], &cache)
        }
        return try head.apply(Array(last.suffix(config.hidden)))
    }

    /// The logits of each of a few `ids`, which follow what is in the cache.
    func logits(_ ids: [Int], _ cache: inout KeyValueCache) throws(Problem) -> [[Float]] {
        let all = try head.apply(try hidden(ids[...], &cache))
        return ids.indices.map { Array(all[$0 * logitCount..<($0 + 1) * logitCount]) }
    }

    /// The logits of all of `ids`, some positions at a time.
    ///
    /// - Parameter body: gets the place of the first position among `ids`, and n × `logitCount` logits.
    public func forEachLogits(
        _ ids: [Int], _ cache: inout KeyValueCache, _ body: (Int, [Float]) throws(Problem) -> Void
    ) throws(Problem) {
        let few = max(1, min(Self.stepLength, Self.stepLogits / max(1, logitCount)))
        for start in stride(from: 0, to: ids.count, by: few) {
            try checkInterrupted()
            let states = try hidden(ids[start..<min(ids.count, start + few)], &cache)
            try body(start, try head.apply(states))
        }
    }

    /// The last block's normed states (n × hidden) of ids that follow what is in the cache.
    private func hidden(_ ids: ArraySlice<Int>, _ cache: inout KeyValueCache) throws(Problem) -> [Float] {
        var x = try embedding.rows(of: Array(ids))
        let angles = ids.indices.map { config.rotary.angles(at: cache.count + $0 - ids.startIndex) }
        cache.count += ids.count
        for (layer, block) in blocks.enumerated() {
            var output = try attended(x, block, layer, angles, &cache)
            for hook in hooks { output = try hook.afterAttention(output, residual: x, layer: layer) }
            Self.add(output, to: &x)
            let inner = normed(x, block.secondNorm)
            output = try block.down.apply(DecoderKernels.swiglu(block.gate.apply(inner), block.up.apply(inner)))
            for hook in hooks { output = try hook.afterMLP(output, residual: x, layer: layer) }
            Self.add(output, to: &x)
        }
        return normed(x, norm)
    }

    private func attended(
        _ x: [Float], _ block: DecoderBlock, _ layer: Int, _ angles: [(cosines: [Float], sines: [Float])],
        _ cache: inout KeyValueCache
    ) throws(Problem) -> [Float] {
        let inner = normed(x, block.firstNorm)
        var queries = try block.query.apply(inner)
        var keys = try block.key.apply(inner)
        attention.turn(&queries, heads: config.heads, angles: angles)
        attention.turn(&keys, heads: config.keyValueHeads, angles: angles)
        cache.layers[layer].keys += keys
        cache.layers[layer].values += try block.value.apply(inner)
        let mixed = attention.mix(
            queries, cache.layers[layer], count: cache.count, window: config.window(ofLayer: layer))
        return try block.output.apply(mixed)
    }

    private static func add(_ output: [Float], to x: inout [Float]) {
        var target = x.mutableSpan
        let source = output.span
        for at in 0..<min(target.count, source.count) { target[at] += source[at] }
    }

    /// x / √(mean x² + ε) · weight for each position.
    private func normed(_ x: [Float], _ weight: [Float]) -> [Float] {
        var result = x
        var target = result.mutableSpan
        let factors = weight.span
        var start = 0
        while start < target.count {
            var sum = 0.0
            for at in 0..<factors.count { sum += Double(target[start + at]) * Double(target[start + at]) }
            let scale = Float(1 / (sum / Double(factors.count) + config.epsilon).squareRoot())
            for at in 0..<factors.count { target[start + at] *= scale * factors[at] }
            start += factors.count
        }
        return result
    }
}
