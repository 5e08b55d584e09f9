/// y = w ∘ x / √(mean x² + ε), row by row (Zhang & Sennrich, arXiv:1910.07467).
final class RMSNorm<T: Real>: Sendable {
    /// w (1 × hidden).
    let weight: Parameter<T>
    let epsilon: Double

    init(weight: Parameter<T>, epsilon: Double) {
        self.weight = weight
        self.epsilon = epsilon
    }

    /// What the way back needs.
    struct Saved {
        /// x (n × hidden).
        var input: Matrix<T>
        /// One over the root, of each row (1 × n).
        var inverse: Matrix<T>
    }

    /// y (n × hidden) from x (n × hidden).
    func forward(_ x: Matrix<T>, _ pass: Pass<T>) -> (y: Matrix<T>, saved: Saved) {
        let y = pass.arena.matrix(x.rows, x.columns)
        let inverse = pass.arena.matrix(1, x.rows)
        precondition(weight.value.columns == x.columns, "a norm of another width")
        for row in 0..<x.rows {
            unsafe inverse[0, row] = T.rms(x.row(row), weight.value.base, y.row(row), x.columns, T(epsilon))
        }
        return (y, Saved(input: x, inverse: inverse))
    }

    /// Adds the gradient of w, and to dx (n × hidden), unless it is nil, what comes back, from dy (n × hidden).
    func backward(_ dy: Matrix<T>, _ saved: Saved, addingTo dx: Matrix<T>?, _ pass: Pass<T>) {
        let gradient = pass.gradients?[weight]
        guard dx != nil || gradient != nil else { return }
        precondition(dy.rows == saved.input.rows && dy.columns == saved.input.columns, "a gradient of another shape")
        precondition(dx.map { $0.rows == dy.rows && $0.columns == dy.columns } ?? true, "a gradient of another shape")
        for row in 0..<dy.rows {
            unsafe T.rmsBack(
                saved.input.row(row), weight.value.base, saved.inverse[0, row], dy.row(row), dx?.row(row),
                gradient?.base, dy.columns)
        }
    }
}
