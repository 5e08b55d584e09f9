/// One tensor of a model or an adapter.
///
/// Vectors are matrices of one row. What is frozen has neither a gradient nor an optimizer's moments.
package final class Parameter<T: Real>: Sendable {
    /// Its name in the file that it comes from or goes to.
    package let name: String
    /// Its shape there.
    package let shape: [Int]
    /// Its values.
    package let value: Matrix<T>
    /// Its place among the trained parameters; `nil` if it is frozen.
    package let slot: Int?
    /// The block that it belongs to; `nil` for the embedding, the last norm and the head.
    package let layer: Int?

    init(_ name: String, _ shape: [Int], _ value: Matrix<T>, slot: Int?, layer: Int?) {
        precondition(value.count == shape.reduce(1, *), "values of another shape")
        self.name = name
        self.shape = shape
        self.value = value
        self.slot = slot
        self.layer = layer
    }

    /// Whether it is trained.
    package var isTrained: Bool { slot != nil }
}

/// Derivatives of the loss by all trained parameters, as one worker sums them.
final class Gradients<T: Real>: Sendable {
    let matrices: [Matrix<T>]

    init(_ parameters: [Parameter<T>]) {
        matrices = parameters.map { Matrix(rows: $0.value.rows, columns: $0.value.columns) }
    }

    /// The gradient of a parameter; `nil` if it is frozen.
    subscript(parameter: Parameter<T>) -> Matrix<T>? { parameter.slot.map { matrices[$0] } }

    func clear() {
        for matrix in matrices { matrix.fill(0) }
    }
}
