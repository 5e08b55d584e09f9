/// Linear layers that have one input, with their weights under each other in memory: one product serves them all.
///
/// Large products are faster than small ones, and what goes in is prepared for them once.
struct JoinedLinear<T: Real>: Sendable {
    let parts: [Linear<T>]
    /// The parts' weights (outputs of all × in), which are its rows.
    let weight: Matrix<T>
    /// Where each part's outputs are among the columns of all.
    private let columns: [Range<Int>]

    /// - Parameter weight: the parts' weights are its rows, in their order.
    init(_ parts: [Linear<T>], weight: Matrix<T>) {
        self.parts = parts
        self.weight = weight
        columns = Self.ranges(parts.map(\.weight.value.rows))
        precondition(columns.last?.upperBound == weight.rows, "weights that are not those of the parts")
    }

    /// Ranges of these lengths, one behind the other.
    static func ranges(_ counts: [Int]) -> [Range<Int>] {
        var start = 0
        return counts.map { count in
            defer { start += count }
            return start..<start + count
        }
    }

    /// What the way back needs.
    typealias Saved = [Linear<T>.Saved]

    /// Each part's columns of a matrix that has all of them.
    func split(_ all: Matrix<T>) -> [Matrix<T>] { columns.map { all.columns($0) } }

    /// xWᵀ of all parts side by side (n × outputs of all).
    func products(_ x: Matrix<T>, _ pass: Pass<T>) -> Matrix<T> {
        let all = pass.arena.matrix(x.rows, weight.rows)
        all.setProduct(x, weight, transposingB: true)
        return all
    }

    /// What each part gives, side by side (n × outputs of all), from x (n × in).
    ///
    /// - Parameter frozen: `products` of x, where they are known; they become the answer.
    func forward(_ x: Matrix<T>, frozen: Matrix<T>? = nil, _ pass: Pass<T>) -> (y: Matrix<T>, saved: Saved) {
        let all = frozen ?? products(x, pass)
        let saved = zip(parts, split(all)).map { part, y in part.finish(y, x, pass) }
        return (all, saved)
    }

    /// Adds the gradients of what is trained; returns dx (n × in), if it is needed.
    ///
    /// - Parameters:
    ///   - dy: n × outputs of all; it may be changed.
    ///   - needs: the parts whose columns are filled in; all of them if dx is needed.
    func backward(
        _ dy: Matrix<T>, _ saved: Saved, needs: [Bool], needsInput: Bool, _ pass: Pass<T>
    ) -> Matrix<T>? {
        // LoRA adds to dx first; where there is none, the product need not add to anything.
        let isAdded = needsInput && parts.contains { $0.update != nil }
        let dx = needsInput ? pass.arena.matrix(dy.rows, weight.columns) : nil
        if isAdded { dx?.fill(0) }
        for (at, own) in split(dy).enumerated() where needs[at] {
            let inner = parts[at].backwardOwn(own, saved[at], addingTo: dx, pass)
            if let inner, needsInput { own.copy(inner) }
        }
        dx?.setProduct(dy, weight, adding: isAdded)
        return dx
    }
}
