import Models

/// A model of the Llama family with its gradients: embedding, blocks, norm, head.
///
/// Below `lowest`, the first block that is walked back through, nothing is trained: that part is computed once for each
/// sequence and can be kept.
package final class Llama<T: Real>: Sendable {
    /// Its sizes.
    package let config: LlamaConfig
    /// What of it is trained.
    package let plan: TrainingPlan
    let embedding: Embedding<T>
    let blocks: [Block<T>]
    let norm: RMSNorm<T>
    let head: Head<T>
    /// What is trained, by slot.
    package let trained: [Parameter<T>]
    /// The first block with anything that is trained; all of them if only the norm and the head are.
    package let lowest: Int

    init(
        config: LlamaConfig, plan: TrainingPlan, embedding: Embedding<T>, blocks: [Block<T>], norm: RMSNorm<T>,
        head: Head<T>, trained: [Parameter<T>]
    ) {
        (self.config, self.plan, self.trained) = (config, plan, trained)
        (self.embedding, self.blocks, self.norm, self.head) = (embedding, blocks, norm, head)
        lowest = embedding.weight.isTrained ? 0 : trained.compactMap(\.layer).min() ?? blocks.count
    }

    /// Whether the rows of the embedding change.
    var trainsEmbedding: Bool { embedding.weight.isTrained }

    /// Whether there is a part that never changes and is more than a look-up.
    package var hasFrozenPart: Bool { lowest > 0 && !trainsEmbedding }

    /// What is computed anew for each set of weights; before every step.
    func prepare() {
        for block in blocks {
            for linear in block.linears { linear.update?.prepare(linear.weight.value) }
        }
    }

    /// What of one sequence never changes (n × `frozenWidth`): the hidden states that go into block `lowest`, and beside
    /// them, where these do not change either, the products of its q, k and v.
    func frozen(_ ids: [Int32], _ pass: Pass<T>) -> Matrix<T> {
        let result = pass.arena.matrix(ids.count, frozenWidth)
        let x = result.columns(0..<config.hidden)
        x.copy(embedding.forward(ids, pass))
        let mark = pass.arena.mark
        for block in blocks[..<lowest] {
            let input = pass.arena.matrix(x.rows, x.columns)
            input.copy(x)
            x.copy(block.forward(input, pass).y)
            pass.arena.rewind(to: mark)
        }
        if keepsProjections {
            let input = pass.arena.matrix(x.rows, x.columns)
            input.copy(x)
            result.columns(config.hidden..<frozenWidth).copy(blocks[lowest].frozenProjections(input, pass))
            pass.arena.rewind(to: mark)
        }
        return result
    }

    private var keepsProjections: Bool { hasFrozenPart && lowest < blocks.count && blocks[lowest].hasFrozenProjections }

    /// Numbers of `frozen` for each position.
    var frozenWidth: Int {
        config.hidden + (keepsProjections ? config.queryWidth + 2 * config.keyWidth : 0)
    }

    /// Σ of the losses of all targets, in nats; if the pass has gradients, adds their derivatives times `factor`.
    ///
    /// - Parameters:
    ///   - ids: those of all sequences, one after the other (n).
    ///   - targets: the id that should follow each, or `TokenSequence.ignored` (n).
    ///   - frozen: `frozen` of all sequences (n × `frozenWidth`), where there is a frozen part; they are changed.
    ///   - bottom: the first block that is trained now, for gradual unfreezing; nothing below it gets a gradient.
    func loss(
        ids: [Int32], targets: [Int32], frozen: Matrix<T>?, bottom: Int, factor: Double, _ pass: Pass<T>
    ) -> Double {
        let input = frozen?.columns(0..<config.hidden) ?? embedding.forward(ids, pass)
        let projections = keepsProjections ? frozen?.columns(config.hidden..<frozenWidth) : nil
        let (x, saved) = through(input, projections, pass)
        let (n, normSaved) = norm.forward(x, pass)
        guard pass.gradients != nil else { return head.loss(n, targets: targets, factor: factor, dx: nil, pass) }
        let needsBlocks = bottom < blocks.count || trainsEmbedding
        let dn = needsBlocks || norm.weight.isTrained ? pass.arena.matrix(n.rows, n.columns) : nil
        let sum = head.loss(n, targets: targets, factor: factor, dx: dn, pass)
        guard let dn else { return sum }
        let dx = pass.arena.zeros(n.rows, n.columns)
        norm.backward(dn, normSaved, addingTo: dx, pass)
        guard needsBlocks else { return sum }
        let goesToEmbedding = trainsEmbedding && bottom == 0
        for layer in (bottom..<blocks.count).reversed() {
            let mark = pass.arena.mark
            blocks[layer].backward(dx, saved[layer - lowest], needsInput: layer > bottom || goesToEmbedding, pass)
            pass.arena.rewind(to: mark)
        }
        if goesToEmbedding { embedding.backward(dx, ids, pass) }
        return sum
    }

    /// Hidden states behind the last block, and what the way back needs; without one, memory is used again.
    private func through(
        _ input: Matrix<T>, _ projections: Matrix<T>?, _ pass: Pass<T>
    ) -> (x: Matrix<T>, saved: [Block<T>.Saved]) {
        var (x, saved) = (input, [Block<T>.Saved]())
        for (layer, block) in blocks.enumerated().dropFirst(lowest) {
            let mark = pass.arena.mark
            let (y, kept) = block.forward(x, frozen: layer == lowest ? projections : nil, pass)
            if pass.gradients == nil {
                // The input's memory is free now: the answer takes its place, and all else goes.
                x.copy(y)
                pass.arena.rewind(to: mark)
            } else {
                x = y
                saved.append(kept)
            }
        }
        return (x, saved)
    }

    /// Logits (n × vocabulary) of all positions of one sequence.
    package func logits(_ ids: [Int32]) -> Matrix<T> {
        let arena = Arena<T>()
        prepare()
        let pass = Pass<T>(
            arena: arena, gradients: nil, dropout: nil, segments: [Segment(start: 0, count: ids.count, key: 0)])
        var x = embedding.forward(ids, pass)
        for block in blocks { x = block.forward(x, pass).y }
        return head.linear.forward(norm.forward(x, pass).y, pass).y
    }
}
