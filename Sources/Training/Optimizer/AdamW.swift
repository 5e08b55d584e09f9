/// AdamW as PyTorch defines it (arXiv:1711.05101).
///
/// With gradient g and step t:
///
///     w ← w − η·λ·w;  m ← β₁·m + (1 − β₁)·g;  v ← β₂·v + (1 − β₂)·g²
///     w ← w − η · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
///
/// Only what is trained has moments: two numbers for each.
final class AdamW<T: Real>: Sendable {
    let parameters: [Parameter<T>]
    let first: [Matrix<T>]
    let second: [Matrix<T>]

    init(_ parameters: [Parameter<T>]) {
        self.parameters = parameters
        first = parameters.map { Matrix(rows: $0.value.rows, columns: $0.value.columns) }
        second = parameters.map { Matrix(rows: $0.value.rows, columns: $0.value.columns) }
    }

    /// Bytes of the moments of so many parameters.
    static func bytes(_ count: Int) -> Int { 2 * count * MemoryLayout<T>.stride }

    /// One step for one parameter.
    ///
    /// - Parameter step: its numbers; `number` counts this parameter's own steps.
    func update(_ slot: Int, gradient: Matrix<T>, _ step: AdamWStep) {
        let value = parameters[slot].value
        precondition(gradient.count == value.count && value.isContiguous, "a gradient of another shape")
        unsafe T.adamW(value.base, gradient.base, first[slot].base, second[slot].base, value.count, step)
    }
}
