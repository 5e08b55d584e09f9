import Problems

/// What takes part in a decoder's blocks without being a change of weights: learned keys and values, layers in between.
///
/// All methods have an answer that changes nothing.
public protocol BlockHooks: Sendable {
    /// Positions before the text that it brings keys and values for.
    var prefixLength: Int { get }

    /// Keys and values (`prefixLength` × kv heads · head size each) of the positions before the text; keys are not turned.
    func prefix(ofLayer layer: Int) -> (keys: [Float], values: [Float])

    /// What becomes of the attention's output before it is added to the residual stream.
    ///
    /// - Parameters:
    ///   - output: n × hidden, after `o_proj`.
    ///   - residual: n × hidden, what it will be added to.
    func afterAttention(_ output: [Float], residual: [Float], layer: Int) throws(Problem) -> [Float]

    /// The same for the output of the MLP, after `down_proj`.
    func afterMLP(_ output: [Float], residual: [Float], layer: Int) throws(Problem) -> [Float]
}

extension BlockHooks {
    /// None.
    public var prefixLength: Int { 0 }
    /// None.
    public func prefix(ofLayer layer: Int) -> (keys: [Float], values: [Float]) { ([], []) }
    /// The output as it is.
    public func afterAttention(_ output: [Float], residual: [Float], layer: Int) throws(Problem) -> [Float] { output }
    /// The output as it is.
    public func afterMLP(_ output: [Float], residual: [Float], layer: Int) throws(Problem) -> [Float] { output }
}
