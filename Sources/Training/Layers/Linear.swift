/// A linear layer y = xWᵀ + b, frozen or trained, perhaps with LoRA beside it.
///
/// `weight` is out × in, `bias` 1 × out.
final class Linear<T: Real>: Sendable {
    let weight: Parameter<T>
    let bias: Parameter<T>?
    let update: LowRankUpdate<T>?

    init(weight: Parameter<T>, bias: Parameter<T>?, update: LowRankUpdate<T>?) {
        (self.weight, self.bias, self.update) = (weight, bias, update)
    }

    /// Whether it has anything that is trained.
    var isTrained: Bool { weight.isTrained || bias?.isTrained == true || update != nil }

    /// What the way back needs.
    struct Saved {
        /// x (n × in).
        var input: Matrix<T>
        var update: LowRankUpdate<T>.Saved?
    }

    /// y (n × out) = xWᵀ + b, and what LoRA adds, from x (n × in).
    ///
    /// - Parameters:
    ///   - frozen: xWᵀ, where it is known already (n × out).
    ///   - residual: what is added to y besides (n × out).
    func forward(
        _ x: Matrix<T>, frozen: Matrix<T>? = nil, addedTo residual: Matrix<T>? = nil, _ pass: Pass<T>
    ) -> (y: Matrix<T>, saved: Saved) {
        let y = pass.arena.matrix(x.rows, weight.value.rows)
        // A product onto the residual saves two ways through memory; DoRA multiplies the product alone.
        let isOnto = residual != nil && update?.isDoRA != true
        if let frozen {
            y.copy(frozen)
        } else {
            if isOnto, let residual { y.copy(residual) }
            y.setProduct(x, weight.value, transposingB: true, adding: isOnto)
        }
        let saved = update?.forward(x, y, weight: weight.value, pass)
        if let bias { y.addToRows(bias.value) }
        if let residual, !isOnto || frozen != nil { y.add(residual) }
        return (y, Saved(input: x, update: saved))
    }

    /// Adds the gradients of what is trained, and to dx (n × in), unless it is nil, what comes back, from dy (n × out).
    func backward(_ dy: Matrix<T>, _ saved: Saved, addingTo dx: Matrix<T>?, _ pass: Pass<T>) {
        if let bias, let gradient = pass.gradients?[bias] { gradient.addSumOfRows(dy) }
        if let gradient = pass.gradients?[weight] {
            gradient.setProduct(dy, saved.input, transposingA: true, adding: true)
        }
        var inner = dy
        if let update, let kept = saved.update {
            inner = update.backward(dy, kept, weight: weight.value, dx: dx, pass)
        }
        dx?.setProduct(inner, weight.value, adding: true)
    }
}
