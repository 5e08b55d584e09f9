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
    /// - Parameter residual: what is added to y besides (n × out).
    func forward(_ x: Matrix<T>, addedTo residual: Matrix<T>? = nil, _ pass: Pass<T>) -> (y: Matrix<T>, saved: Saved) {
        let y = pass.arena.matrix(x.rows, weight.value.rows)
        // A product onto the residual saves two ways through memory; DoRA multiplies the product alone.
        let isOnto = residual != nil && update?.isDoRA != true
        if isOnto, let residual { y.copy(residual) }
        y.setProduct(x, weight.value, transposingB: true, adding: isOnto)
        let saved = finish(y, x, pass)
        if let residual, !isOnto { y.add(residual) }
        return (y, saved)
    }

    /// Adds to y (n × out), which holds xWᵀ, what LoRA adds, and b.
    func finish(_ y: Matrix<T>, _ x: Matrix<T>, _ pass: Pass<T>) -> Saved {
        let saved = update?.forward(x, y, weight: weight.value, pass)
        if let bias { y.addToRows(bias.value) }
        return Saved(input: x, update: saved)
    }

    /// Adds the gradients of what is trained; returns dx (n × in), if it is needed, from dy (n × out).
    func backward(_ dy: Matrix<T>, _ saved: Saved, needsInput: Bool, _ pass: Pass<T>) -> Matrix<T>? {
        let dx = needsInput ? pass.arena.matrix(dy.rows, weight.value.columns) : nil
        // LoRA adds to dx first; where there is none, the product need not add to anything.
        if update != nil { dx?.fill(0) }
        let inner = backwardOwn(dy, saved, addingTo: dx, pass)
        dx?.setProduct(inner ?? dy, weight.value, adding: update != nil)
        return dx
    }

    /// Adds the gradients of what is trained, and to dx (n × in), unless it is nil, what comes back by LoRA.
    ///
    /// - Returns: what is to be multiplied by W for the rest of dx (n × out), unless it is dy.
    func backwardOwn(_ dy: Matrix<T>, _ saved: Saved, addingTo dx: Matrix<T>?, _ pass: Pass<T>) -> Matrix<T>? {
        if let bias, let gradient = pass.gradients?[bias] { gradient.addSumOfRows(dy) }
        if let gradient = pass.gradients?[weight] {
            gradient.setProduct(dy, saved.input, transposingA: true, adding: true)
        }
        guard let update, let kept = saved.update else { return nil }
        return update.backward(dy, kept, weight: weight.value, dx: dx, pass)
    }
}
