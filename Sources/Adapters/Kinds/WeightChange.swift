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
    /// The same delta for a weight of this shape, or `nil` if it cannot be added to one.
    func fitted(to shape: [Int]) -> (any RowDelta)?
    /// Two factors whose product is the delta, exactly but for float64's rounding.
    ///
    /// - Returns: `nil` where there are none whose rank is below the delta's sizes.
    func factors(_ read: ValueReader) throws(Problem) -> DeltaFactors?
}

extension RowDelta {
    /// By its own shape; convolutions are seen as matrices, and vectors as one row.
    public func fitted(to shape: [Int]) -> (any RowDelta)? {
        guard let rows = shape.first else { return self.shape == (1, 1) ? self : nil }
        let isMatrix = self.shape == (rows, shape.dropFirst().reduce(1, *))
        return isMatrix || (shape.count == 1 && self.shape == (1, rows)) ? self : nil
    }

    /// Whether factors of this rank are smaller than the delta, and may be held in memory.
    func isWorth(_ rank: Int) -> Bool {
        let (rows, columns) = shape
        return rank < min(rows, columns) && rank <= (1 << 31) / max(rows, columns)
    }

    /// No factors are known.
    public func factors(_ read: ValueReader) throws(Problem) -> DeltaFactors? { nil }
}

/// A product left · right that is a delta, without its scale.
public struct DeltaFactors: Sendable, Equatable {
    /// (rows × rank), row-major.
    public let left: [Double]
    /// (rank × columns), row-major.
    public let right: [Double]
    /// The rank.
    public let rank: Int
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
    public internal(set) var effect: Effect
    /// What is done where the weight is stored (in × out), as Conv1D does, if such modules can have the change.
    let transposed: Effect?
    /// Whether nothing is wrong with a base that does not have the parameter.
    let isOptional: Bool

    /// Puts a change together.
    public init(
        path: String, parameter: String = "weight", method: String, tensors: [TensorInfo], rank: Int? = nil,
        alpha: Double? = nil, effect: Effect, transposed: Effect? = nil, isOptional: Bool = false
    ) {
        self.path = path
        self.parameter = parameter
        self.method = method
        self.tensors = tensors
        self.rank = rank
        self.alpha = alpha
        self.effect = effect
        self.transposed = transposed
        self.isOptional = isOptional
    }

    /// The weight's shape where the change tells it, as of a convolution.
    public var weightShape: [Int]?

    /// The scale of a delta; an action has none.
    public var scale: Double? { if case .delta(_, let scale) = effect { scale } else { nil } }

    /// How a weight may lie.
    enum Orientation {
        /// (out × in), as linear layers and convolutions.
        case plain
        /// (in × out), as Conv1D.
        case transposed
        /// One or the other, as the shape shows; where it does not, the flag says whether it is transposed.
        case open(squaresAreTransposed: Bool)
    }

    /// The change of a weight of this shape, or `nil` if it does not fit.
    func fitted(to shape: [Int], _ orientation: Orientation) -> ModuleChange? {
        let plain = effect.fitted(to: shape)
        guard let other = transposed else { return plain.map(with) }
        switch orientation {
        case .plain: return plain.map(with)
        case .transposed: return other.fitted(to: shape).map(with)
        case .open(let flag):
            let turned = other.fitted(to: shape)
            if plain != nil, turned != nil { return (flag ? turned : plain).map(with) }
            return (plain ?? turned).map(with)
        }
    }

    private func with(_ effect: Effect) -> ModuleChange {
        var copy = self
        copy.effect = effect
        return copy
    }
}

extension ModuleChange.Effect {
    fileprivate func fitted(to shape: [Int]) -> ModuleChange.Effect? {
        switch self {
        case .delta(let delta, let scale): delta.fitted(to: shape).map { .delta($0, scale: scale) }
        case .action(let action): action.fits(shape) ? self : nil
        }
    }
}
