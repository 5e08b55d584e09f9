/// One block: x₁ = x + o(attention(q, k, v of norm(x))), x₂ = x₁ + down(swiglu(gate, up of norm(x₁))).
///
/// A bottleneck adapter, where there is one, stands behind o or down, before the sum.
struct Block<T: Real>: Sendable {
    let inputNorm: RMSNorm<T>
    /// q, k and v.
    let projections: JoinedLinear<T>
    let attention: Attention<T>
    let output: Linear<T>
    let outputBottleneck: Bottleneck<T>?
    let mlpNorm: RMSNorm<T>
    let gateAndUp: JoinedLinear<T>
    let down: Linear<T>
    let downBottleneck: Bottleneck<T>?
    let rotary: RotaryTable<T>
    /// The position of a sequence's first row: prefixes come before it.
    let offset: Int

    /// Whether anything before the attention's output is trained.
    private var trainsProjections: Bool {
        inputNorm.weight.isTrained || projections.parts.contains(where: \.isTrained)
            || attention.prefix?.keys.isTrained == true
    }

    /// Whether anything up to the first sum is trained.
    private var trainsAttention: Bool { trainsProjections || output.isTrained || outputBottleneck != nil }

    /// Whether xWᵀ of q, k and v does not change while training.
    var hasFrozenProjections: Bool {
        !inputNorm.weight.isTrained && !projections.parts.contains(where: \.weight.isTrained)
    }

    /// All linear layers with their LoRA, for what has to be done before each step.
    var linears: [Linear<T>] { projections.parts + [output] + gateAndUp.parts + [down] }

    /// What the way back needs.
    struct Saved {
        var inputNorm: RMSNorm<T>.Saved
        var projections: JoinedLinear<T>.Saved
        var attention: Attention<T>.Saved
        var output: Linear<T>.Saved
        var outputBottleneck: Bottleneck<T>.Saved?
        var mlpNorm: RMSNorm<T>.Saved
        var gateAndUp: JoinedLinear<T>.Saved
        /// What gate and up gave, side by side.
        var inner: Matrix<T>
        var down: Linear<T>.Saved
        var downBottleneck: Bottleneck<T>.Saved?
    }

    /// xWᵀ of q, k and v side by side (n × queries, keys and values), before LoRA, bias and turning.
    func frozenProjections(_ x: Matrix<T>, _ pass: Pass<T>) -> Matrix<T> {
        projections.products(inputNorm.forward(x, pass).y, pass)
    }

    /// x₂ (n × hidden) from x (n × hidden).
    ///
    /// - Parameter frozen: `frozenProjections`, where they are known; they are changed.
    func forward(_ x: Matrix<T>, frozen: Matrix<T>? = nil, _ pass: Pass<T>) -> (y: Matrix<T>, saved: Saved) {
        let (n1, s1) = inputNorm.forward(x, pass)
        let (all, sp) = projections.forward(n1, frozen: frozen, pass)
        let parts = projections.split(all)
        for part in parts[0...1] { rotary.turn(part, segments: pass.segments, offset: offset) }
        let (a, sa) = attention.forward(queries: parts[0], keys: parts[1], values: parts[2], pass)
        let (o, so) = output.forward(a, addedTo: outputBottleneck == nil ? x : nil, pass)
        let (x1, sob) = sum(o, outputBottleneck, x, pass)
        let (n2, s2) = mlpNorm.forward(x1, pass)
        let (inner, si) = gateAndUp.forward(n2, pass)
        let halves = gateAndUp.split(inner)
        let h = SwiGLU.forward(gate: halves[0], up: halves[1], pass)
        let (d, sd) = down.forward(h, addedTo: downBottleneck == nil ? x1 : nil, pass)
        let (x2, sdb) = sum(d, downBottleneck, x1, pass)
        return (
            x2,
            Saved(
                inputNorm: s1, projections: sp, attention: sa, output: so, outputBottleneck: sob, mlpNorm: s2,
                gateAndUp: si, inner: inner, down: sd, downBottleneck: sdb)
        )
    }

    /// What a bottleneck makes of `y`, added to `x`; without one, `y` has `x` in it already.
    private func sum(
        _ y: Matrix<T>, _ bottleneck: Bottleneck<T>?, _ x: Matrix<T>, _ pass: Pass<T>
    ) -> (x: Matrix<T>, saved: Bottleneck<T>.Saved?) {
        guard let bottleneck else { return (y, nil) }
        let (changed, saved) = bottleneck.forward(y, pass)
        changed.add(x)
        return (changed, saved)
    }

    /// Adds all gradients of the block, from dx₂ in `dx` (n × hidden), which becomes dx, if that is needed.
    func backward(_ dx: Matrix<T>, _ saved: Saved, needsInput: Bool, _ pass: Pass<T>) {
        backwardMLP(dx, saved, needsInput: needsInput || trainsAttention, pass)
        if needsInput || trainsAttention { backwardAttention(dx, saved, needsInput: needsInput, pass) }
    }

    private func backwardMLP(_ dx: Matrix<T>, _ saved: Saved, needsInput: Bool, _ pass: Pass<T>) {
        var d = dx
        if let downBottleneck, let kept = saved.downBottleneck { d = downBottleneck.backward(dx, kept, pass) }
        let needsNorm = needsInput || mlpNorm.weight.isTrained
        let needs = gateAndUp.parts.map { needsNorm || $0.isTrained }
        guard let dh = down.backward(d, saved.down, needsInput: needs.contains(true), pass) else { return }
        let dInner = pass.arena.matrix(saved.inner.rows, saved.inner.columns)
        let (halves, dHalves) = (gateAndUp.split(saved.inner), gateAndUp.split(dInner))
        SwiGLU.backward(dh, gate: halves[0], up: halves[1], into: (dHalves[0], dHalves[1]))
        let dn = gateAndUp.backward(dInner, saved.gateAndUp, needs: needs, needsInput: needsNorm, pass)
        if let dn { mlpNorm.backward(dn, saved.mlpNorm, addingTo: needsInput ? dx : nil, pass) }
    }

    private func backwardAttention(_ dx: Matrix<T>, _ saved: Saved, needsInput: Bool, _ pass: Pass<T>) {
        var d = dx
        if let outputBottleneck, let kept = saved.outputBottleneck { d = outputBottleneck.backward(dx, kept, pass) }
        let goesOn = needsInput || trainsProjections
        guard let da = output.backward(d, saved.output, needsInput: goesOn, pass) else { return }
        let needsNorm = needsInput || inputNorm.weight.isTrained
        let needs = projections.parts.map { needsNorm || $0.isTrained }
        let dAll = pass.arena.matrix(dx.rows, projections.weight.rows)
        let parts = zip(projections.split(dAll), needs).map { $1 ? $0 : nil }
        attention.backward(da, saved.attention, queries: parts[0], keys: parts[1], values: parts[2], pass)
        for case let part? in parts[0...1] { rotary.turn(part, segments: pass.segments, offset: offset, back: true) }
        let dn = projections.backward(dAll, saved.projections, needs: needs, needsInput: needsNorm, pass)
        if let dn { inputNorm.backward(dn, saved.inputNorm, addingTo: needsInput ? dx : nil, pass) }
    }
}
