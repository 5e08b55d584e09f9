/// Rows of a table by token id.
final class Embedding<T: Real>: Sendable {
    /// vocabulary × hidden.
    let weight: Parameter<T>

    init(weight: Parameter<T>) { self.weight = weight }

    /// The rows of `ids` (n × hidden).
    func forward(_ ids: [Int32], _ pass: Pass<T>) -> Matrix<T> {
        let y = pass.arena.matrix(ids.count, weight.value.columns)
        for (at, id) in ids.enumerated() { y.rows(at..<at + 1).copy(weight.value.rows(Int(id)..<Int(id) + 1)) }
        return y
    }

    /// Adds dy (n × hidden) to the gradients of the rows of `ids`.
    func backward(_ dy: Matrix<T>, _ ids: [Int32], _ pass: Pass<T>) {
        guard let gradient = pass.gradients?[weight] else { return }
        for (at, id) in ids.enumerated() { gradient.rows(Int(id)..<Int(id) + 1).add(dy.rows(at..<at + 1)) }
    }
}
