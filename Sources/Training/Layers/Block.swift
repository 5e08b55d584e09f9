/// One block: x₁ = x + o(attention(q, k, v of norm(x))), x₂ = x₁ + down(swiglu(gate, up of norm(x₁))).
///
/// A bottleneck adapter, where there is one, stands behind o or down, before the sum.
struct Block<T: Real>: Sendable {
    let inputNorm: RMSNorm<T>
    let query: Linear<T>
    let key: Linear<T>
    let value: Linear<T>
    let attention: Attention<T>
    let output: Linear<T>
    let outputBottleneck: Bottleneck<T>?
    let mlpNorm: RMSNorm<T>
    let gate: Linear<T>
    let up: Linear<T>
    let down: Linear<T>
    let downBottleneck: Bottleneck<T>?
    let rotary: RotaryTable<T>
    /// The position of a sequence's first row: prefixes come before it.
    let offset: Int

    /// Whether anything before the attention's output is trained.
    private var trainsProjections: Bool {
        inputNorm.weight.isTrained || query.isTrained || key.isTrained || value.isTrained
            || attention.prefix?.keys.isTrained == true
    }

    /// Whether anything up to the first sum is trained.
    private var trainsAttention: Bool { trainsProjections || output.isTrained || outputBottleneck != nil }

    /// Whether xWᵀ of q, k and v does not change while training.
    var hasFrozenProjections: Bool {
        !inputNorm.weight.isTrained && !query.weight.isTrained && !key.weight.isTrained && !value.weight.isTrained
    }

    /// All linear layers with their LoRA, for what has to be done before each step.
    var linears: [Linear<T>] { [query, key, value, output, gate, up, down] }

    /// What the way back needs.
    struct Saved {
        var inputNorm: RMSNorm<T>.Saved
        var query: Linear<T>.Saved
        var key: Linear<T>.Saved
        var value: Linear<T>.Saved
        var attention: Attention<T>.Saved
        var output: Linear<T>.Saved
        var outputBottleneck: Bottleneck<T>.Saved?
        var mlpNorm: RMSNorm<T>.Saved
        var gate: Linear<T>.Saved
        var up: Linear<T>.Saved
        var gateOut: Matrix<T>
        var upOut: Matrix<T>
        var down: Linear<T>.Saved
        var downBottleneck: Bottleneck<T>.Saved?
    }

    /// xWᵀ of q, k and v side by side (n × queries, keys and values), before LoRA, bias and turning.
    func frozenProjections(_ x: Matrix<T>, _ pass: Pass<T>) -> Matrix<T> {
        let (n, _) = inputNorm.forward(x, pass)
        let widths = [query, key, value].map(\.weight.value.rows)
        let all = pass.arena.matrix(x.rows, widths.reduce(0, +))
        var start = 0
        for (linear, width) in zip([query, key, value], widths) {
            all.columns(start..<start + width).setProduct(n, linear.weight.value, transposingB: true)
            start += width
        }
        return all
    }

    /// x₂ (n × hidden) from x (n × hidden).
    ///
    /// - Parameter frozen: `frozenProjections`, where they are known.
    func forward(_ x: Matrix<T>, frozen: Matrix<T>? = nil, _ pass: Pass<T>) -> (y: Matrix<T>, saved: Saved) {
        let (n1, s1) = inputNorm.forward(x, pass)
        let (qWidth, kWidth) = (query.weight.value.rows, key.weight.value.rows)
        let (q, sq) = query.forward(n1, frozen: frozen?.columns(0..<qWidth), pass)
        let (k, sk) = key.forward(n1, frozen: frozen?.columns(qWidth..<qWidth + kWidth), pass)
        let (v, sv) = value.forward(n1, frozen: frozen?.columns(qWidth + kWidth..<qWidth + 2 * kWidth), pass)
        rotary.turn(q, segments: pass.segments, offset: offset)
        rotary.turn(k, segments: pass.segments, offset: offset)
        let (a, sa) = attention.forward(queries: q, keys: k, values: v, pass)
        let (o, so) = output.forward(a, addedTo: outputBottleneck == nil ? x : nil, pass)
        let (x1, sob) = sum(o, outputBottleneck, x, pass)
        let (n2, s2) = mlpNorm.forward(x1, pass)
        let (g, sg) = gate.forward(n2, pass)
        let (u, su) = up.forward(n2, pass)
        let h = SwiGLU.forward(gate: g, up: u, pass)
        let (d, sd) = down.forward(h, addedTo: downBottleneck == nil ? x1 : nil, pass)
        let (x2, sdb) = sum(d, downBottleneck, x1, pass)
        return (
            x2,
            Saved(
                inputNorm: s1, query: sq, key: sk, value: sv, attention: sa, output: so, outputBottleneck: sob,
                mlpNorm: s2, gate: sg, up: su, gateOut: g, upOut: u, down: sd, downBottleneck: sdb)
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
        var dd = dx
        if let downBottleneck, let kept = saved.downBottleneck { dd = downBottleneck.backward(dx, kept, pass) }
        let needsHidden =
            needsInput || gate.isTrained || up.isTrained || mlpNorm.weight.isTrained
        let dh = needsHidden ? pass.arena.zeros(dx.rows, saved.gateOut.columns) : nil
        down.backward(dd, saved.down, addingTo: dh, pass)
        guard let dh else { return }
        let (dg, du) = SwiGLU.backward(dh, gate: saved.gateOut, up: saved.upOut, pass)
        let dn = needsInput || mlpNorm.weight.isTrained ? pass.arena.zeros(dx.rows, dx.columns) : nil
        gate.backward(dg, saved.gate, addingTo: dn, pass)
        up.backward(du, saved.up, addingTo: dn, pass)
        if let dn { mlpNorm.backward(dn, saved.mlpNorm, addingTo: needsInput ? dx : nil, pass) }
    }

    private func backwardAttention(_ dx: Matrix<T>, _ saved: Saved, needsInput: Bool, _ pass: Pass<T>) {
        var d = dx
        if let outputBottleneck, let kept = saved.outputBottleneck { d = outputBottleneck.backward(dx, kept, pass) }
        let goesOn = needsInput || trainsProjections
        let da = goesOn ? pass.arena.zeros(dx.rows, saved.attention.queries.columns) : nil
        output.backward(d, saved.output, addingTo: da, pass)
        guard let da else { return }
        let needsNorm = needsInput || inputNorm.weight.isTrained
        let needs = (
            queries: needsNorm || query.isTrained, keys: needsNorm || key.isTrained,
            values: needsNorm || value.isTrained
        )
        let (dq, dk, dv) = attention.backward(da, saved.attention, needs: needs, pass)
        if let dq { rotary.turn(dq, segments: pass.segments, offset: offset, back: true) }
        if let dk { rotary.turn(dk, segments: pass.segments, offset: offset, back: true) }
        let dn = needsNorm ? pass.arena.zeros(dx.rows, dx.columns) : nil
        if let dq { query.backward(dq, saved.query, addingTo: dn, pass) }
        if let dk { key.backward(dk, saved.key, addingTo: dn, pass) }
        if let dv { value.backward(dv, saved.value, addingTo: dn, pass) }
        if let dn { inputNorm.backward(dn, saved.inputNorm, addingTo: needsInput ? dx : nil, pass) }
    }
}
