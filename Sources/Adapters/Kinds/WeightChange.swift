import Problems
import Safetensors

/// Reads a tensor of the adapter as float64, row-major.
public typealias ValueReader = (TensorInfo) throws(Problem) -> [Double]

/// Reads some rows of the weight that an action changes, as float64: rows × columns, row-major.
public typealias RowReader = (Range<Int>) throws(Problem) -> [Double]

/// A delta that is no product of two small factors: LoHa, LoKr, a difference of full size.
///
/// A kind is one small type, whose documentation names where its formula is from. What uses it knows no kinds.
public protocol RowDelta: Sendable {
    /// The delta as a matrix: (outputs, all inputs), which is how the weight is seen, too.
    var shape: (rows: Int, columns: Int) { get }
    /// Reads what it is made of.
    func load(_ read: ValueReader) throws(Problem) -> any LoadedDelta
}

/// A delta whose parts are in memory.
public protocol LoadedDelta: Sendable {
    /// Adds `scale` times some rows of the delta to `target`, which has that many rows of its columns, row-major.
    func add(_ rows: Range<Int>, times scale: Double, to target: inout [Double])
}

/// A change of a weight that depends on the weight: IA3, rotations, magnitudes.
public protocol WeightAction: Sendable {
    /// How many rows are computed together: blocks begin at multiples of it.
    var rowGroup: Int { get }
    /// Whether a weight of this shape can be changed by it.
    func fits(_ shape: [Int]) -> Bool
    /// Reads what it is made of.
    ///
    /// - Parameters:
    ///   - shape: the weight's, as a matrix: the first dimension, and all others.
    ///   - weights: reads rows of the weight, for actions that need all of it.
    func load(
        shape: (rows: Int, columns: Int), _ read: ValueReader, weights: RowReader
    ) throws(Problem) -> any LoadedAction
}

/// An action whose parts are in memory.
public protocol LoadedAction: Sendable {
    /// Changes some rows of the weight in place: rows × columns, row-major, as float64.
    func apply(_ rows: Range<Int>, to weights: inout [Double])
}

/// What an adapter does to one parameter, other than by a product B·A.
public struct ModuleChange: Sendable {
    /// What is done.
    public enum Effect: Sendable {
        /// W + scale · D.
        case delta(any RowDelta, scale: Double)
        /// W' = f(W), which has no weight.
        case action(any WeightAction)
    }

    /// The module's path in the model, as the adapter names it.
    public let path: String
    /// The parameter's name in it.
    public let parameter: String
    /// The method's name: `LoHa`, `IA3`.
    public let method: String
    /// The tensors that it is made of, in the adapter's file.
    public let tensors: [TensorInfo]
    /// The rank, where there is one.
    public let rank: Int?
    /// alpha, where there is one.
    public let alpha: Double?
    /// What is done.
    public let effect: Effect

    /// Puts a change together.
    public init(
        path: String, parameter: String = "weight", method: String, tensors: [TensorInfo], rank: Int? = nil,
        alpha: Double? = nil, effect: Effect
    ) {
        self.path = path
        self.parameter = parameter
        self.method = method
        self.tensors = tensors
        self.rank = rank
        self.alpha = alpha
        self.effect = effect
    }

    /// The weight's shape where the change tells it, as of a convolution.
    public var weightShape: [Int]?

    /// The scale of a delta; an action has none.
    public var scale: Double? { if case .delta(_, let scale) = effect { scale } else { nil } }

    /// Whether a weight of this shape can be changed by it.
    func fits(_ shape: [Int]) -> Bool {
        switch effect {
        case .delta(let delta, _):
            guard let rows = shape.first else { return delta.shape == (1, 1) }
            return delta.shape == (rows, shape.dropFirst().reduce(1, *))
                || (shape.count == 1 && delta.shape == (1, rows))
        case .action(let action): return action.fits(shape)
        }
    }
}
