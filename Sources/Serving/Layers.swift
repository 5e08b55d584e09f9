import Problems

/// How the weight of a linear layer lies in the file.
public enum WeightLayout: Sendable {
    /// (out × in), as torch's `Linear` has it.
    case outByIn
    /// (in × out), as GPT-2's `Conv1D` has it, and the fused experts of some architectures.
    case inByOut
}

/// A linear layer of a snapshot: y = xW'ᵀ + b', where W' = W + Σ weight · scale · B A, and with DoRA
/// W' = m / ‖W + scale · B A‖ · (W + scale · B A) + Σ of the others.
///
/// W' is never made: y is Wx, which is read in the weight's own dtype, plus s · B(Ax) for each adapter.
///
/// **Numbers.** Everything is summed in float64 by fused multiply-adds in an order that depends on the layer alone, and y
/// is rounded once to float32. So y does not depend on threads, the CPU, or what other rows are in the batch; and where S is
/// the same sum with all magnitudes taken, it is at most S · (2·in + r + 32) · 2⁻⁵³ and half a float32 step away from the
/// exact value (r: the ranks together). With DoRA that holds as long as ‖W + s · B A‖ is not much smaller than W and s · B A.
public struct LinearLayer: Sendable {
    /// The weight's name.
    public let name: String
    let matrix: ServedMatrix
    let isTransposed: Bool
    let bias: [Double]?

    /// Numbers that go in.
    public var inputs: Int { isTransposed ? matrix.rows : matrix.columns }
    /// Numbers that come out.
    public var outputs: Int { isTransposed ? matrix.columns : matrix.rows }
    /// Whether the layer has a bias, of the base or of an adapter.
    public var hasBias: Bool { bias != nil }

    /// Applies the layer to a batch.
    ///
    /// - Parameter input: n × `inputs`, row-major.
    /// - Returns: n × `outputs`, row-major.
    /// - Throws: `bad-batch` if the input is no whole number of rows.
    public func apply(_ input: [Float]) throws(Problem) -> [Float] {
        guard input.count % inputs == 0 else {
            throw Problem(
                .usage, "bad-batch", tensor: name,
                "takes rows of \(inputs) numbers, but \(input.count) are no multiple of that")
        }
        let count = input.count / inputs
        let x = input.map { Double($0) }
        let y = isTransposed ? matrix.combination(x, count: count) : matrix.products(x, count: count)
        guard let bias else { return y.map { Float($0) } }
        var result: [Float] = []
        result.reserveCapacity(y.count)
        for row in 0..<count {
            for column in 0..<outputs { result.append(Float(y[row * outputs + column] + bias[column])) }
        }
        return result
    }
}

/// An embedding of a snapshot: rows of W', with replaced token rows, grown vocabularies and deltas.
///
/// Values are computed in float64 and rounded once. Factors that an architecture multiplies its embeddings with (Gemma's
/// √dimension) are the caller's.
public struct EmbeddingLayer: Sendable {
    /// The weight's name.
    public let name: String
    let matrix: ServedMatrix

    /// Tokens that there are.
    public var vocabulary: Int { matrix.rows }
    /// Numbers of each.
    public var dimension: Int { matrix.columns }

    /// The rows of some tokens.
    ///
    /// - Returns: tokens × `dimension`, row-major.
    /// - Throws: `no-token` if there is no such row.
    public func rows(of tokens: [Int]) throws(Problem) -> [Float] {
        if let bad = tokens.first(where: { !(0..<vocabulary).contains($0) }) {
            throw Problem(
                .usage, "no-token", tensor: name, "has \(vocabulary) rows, and no row \(bad)")
        }
        return matrix.values(tokens).map { Float($0) }
    }
}
