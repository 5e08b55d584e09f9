/// LoRA (Hu et al., arXiv:2106.09685) on one linear layer: s · B · A beside W, and with DoRA (Liu et al.,
/// arXiv:2402.09353) a magnitude for each output.
///
/// - `down` is A (r × in), `up` is B (out × r), `magnitude` m (1 × out).
/// - Without a magnitude the layer gives xWᵀ + s · (xAᵀ)Bᵀ.
/// - With one it gives f ∘ (xWᵀ + s · (xAᵀ)Bᵀ), f = m / ‖W + s · B · A‖ row by row. The norm counts as a constant on the
///   way back, as the paper has it (section 4.3) and PEFT does it.
/// - Dropout takes the input of A only: x̃. With DoRA the layer then gives xWᵀ + (f − 1) ∘ x̃Wᵀ + f ∘ s · (x̃Aᵀ)Bᵀ, as PEFT
///   has it.
final class LowRankUpdate<T: Real>: Sendable {
    let down: Parameter<T>
    let up: Parameter<T>
    let magnitude: Parameter<T>?
    let scaling: Double
    let dropout: Double
    /// Tells the module's random numbers from others'.
    let number: Int
    /// ‖W + s · B · A‖ of each row (1 × out), as of the last `prepare`; only with DoRA.
    private let norms: Matrix<T>
    /// m / norm (1 × out).
    private let factors: Matrix<T>

    init(
        down: Parameter<T>, up: Parameter<T>, magnitude: Parameter<T>?, scaling: Double, dropout: Double, number: Int
    ) {
        (self.down, self.up, self.magnitude) = (down, up, magnitude)
        (self.scaling, self.dropout, self.number) = (scaling, dropout, number)
        let outputs = magnitude == nil ? 0 : up.value.rows
        (norms, factors) = (Matrix(rows: 1, columns: outputs), Matrix(rows: 1, columns: outputs))
    }

    var isDoRA: Bool { magnitude != nil }

    /// What the way back needs.
    struct Saved {
        /// x, or x̃ (n × in).
        var input: Matrix<T>
        /// input · Aᵀ (n × r).
        var low: Matrix<T>
        /// DoRA: what the factors multiply (n × out).
        var inner: Matrix<T>?
    }

    /// ‖W + s · B · A‖ of each row (1 × out).
    static func rowNorms(
        _ weight: Matrix<T>, down: Matrix<T>, up: Matrix<T>, scaling: Double, into norms: Matrix<T>
    ) {
        let height = 64
        let block = Matrix<T>(rows: min(height, weight.rows), columns: weight.columns)
        for first in stride(from: 0, to: weight.rows, by: height) {
            let rows = first..<min(weight.rows, first + height)
            let sum = block.rows(0..<rows.count)
            sum.copy(weight.rows(rows))
            sum.setProduct(up.rows(rows), down, factor: T(scaling), adding: true)
            for (at, row) in rows.enumerated() { norms[0, row] = T(sum.rows(at..<at + 1).sumOfSquares.squareRoot()) }
        }
    }

    /// Computes DoRA's factors for the weights as they are now; before each step.
    func prepare(_ weight: Matrix<T>) {
        guard let magnitude else { return }
        Self.rowNorms(weight, down: down.value, up: up.value, scaling: scaling, into: norms)
        for at in 0..<norms.columns { factors[0, at] = magnitude.value[0, at] / norms[0, at] }
    }

    /// y (n × out), which holds xWᵀ, becomes what the layer gives, without bias; x is n × in.
    func forward(_ x: Matrix<T>, _ y: Matrix<T>, weight: Matrix<T>, _ pass: Pass<T>) -> Saved {
        let dropping = dropout > 0 ? pass.dropout : nil
        var input = x
        if let dropping {
            input = pass.arena.matrix(x.rows, x.columns)
            dropping.apply(x, into: input, probability: dropout, module: number, segments: pass.segments)
        }
        let low = pass.arena.matrix(x.rows, down.value.rows)
        low.setProduct(input, down.value, transposingB: true)
        guard isDoRA else {
            y.setProduct(low, up.value, transposingB: true, factor: T(scaling), adding: true)
            return Saved(input: input, low: low)
        }
        let inner = pass.arena.matrix(y.rows, y.columns)
        if dropping == nil {
            inner.copy(y)
            inner.setProduct(low, up.value, transposingB: true, factor: T(scaling), adding: true)
            y.setScaledColumns(inner, factors)
            return Saved(input: input, low: low, inner: inner)
        }
        inner.setProduct(input, weight, transposingB: true)
        y.add(inner, factor: -1)
        inner.setProduct(low, up.value, transposingB: true, factor: T(scaling), adding: true)
        let scaled = pass.arena.matrix(y.rows, y.columns)
        scaled.setScaledColumns(inner, factors)
        y.add(scaled)
        return Saved(input: input, low: low, inner: inner)
    }

    /// Adds the gradients of A, B and m, and to dx (n × in) what comes back by them, from dy (n × out).
    ///
    /// - Returns: what is to be multiplied by W for the rest of dx, unless it is dy: with DoRA f ∘ dy.
    func backward(
        _ dy: Matrix<T>, _ saved: Saved, weight: Matrix<T>, dx: Matrix<T>?, _ pass: Pass<T>
    ) -> Matrix<T>? {
        let arena = pass.arena
        let dropping = dropout > 0 ? pass.dropout : nil
        var inner = dy
        if let magnitude, let kept = saved.inner {
            if let gradient = pass.gradients?[magnitude] {
                let sums = arena.zeros(1, dy.columns)
                sums.addSumOfProducts(dy, kept)
                for at in 0..<sums.columns { gradient[0, at] += sums[0, at] / norms[0, at] }
            }
            inner = arena.matrix(dy.rows, dy.columns)
            inner.setScaledColumns(dy, factors)
        }
        if let gradient = pass.gradients?[up] {
            gradient.setProduct(inner, saved.low, transposingA: true, factor: T(scaling), adding: true)
        }
        let dlow = arena.matrix(dy.rows, down.value.rows)
        dlow.setProduct(inner, up.value, factor: T(scaling))
        if let gradient = pass.gradients?[down] {
            gradient.setProduct(dlow, saved.input, transposingA: true, adding: true)
        }
        guard let dx else { return nil }
        guard let dropping else {
            dx.setProduct(dlow, down.value, adding: true)
            return isDoRA ? inner : nil
        }
        let dropped = arena.matrix(dx.rows, dx.columns)
        dropped.setProduct(dlow, down.value)
        if isDoRA {
            let rest = arena.matrix(dy.rows, dy.columns)
            rest.copy(inner)
            rest.add(dy, factor: -1)
            dropped.setProduct(rest, weight, adding: true)
        }
        let masked = arena.matrix(dx.rows, dx.columns)
        dropping.apply(dropped, into: masked, probability: dropout, module: number, segments: pass.segments)
        dx.add(masked)
        return nil
    }
}
