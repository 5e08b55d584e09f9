import CKernels
import Safetensors

/// What rounding did to the change of one tensor.
public struct TensorLoss: Sendable {
    /// The tensor's name in the output.
    public let name: String
    /// The modules of the adapters that changed it.
    public let modules: [String]
    /// `delta`, `replaced`, `rows`, `new` or `cast`.
    public let kind: String
    /// The type that it was rounded to.
    public let dtype: DType
    /// Elements of the tensor.
    public let elements: Int
    /// ‖D‖ / ‖W‖, by Frobenius norms.
    public let relativeSize: Double
    /// The share of intended changes that left the stored weight as it was.
    public let swallowed: Double
    /// ‖applied − D‖ / ‖D‖: how far the change that was stored is from the one intended.
    public let relativeError: Double
    /// Elements that were finite and became too large for the dtype.
    public let overflows: Int
    /// Elements that are not finite because the base or an adapter was not.
    public let nonFinite: Int
    let changes: UInt64
    let lost: UInt64

    init(_ tensor: PlannedTensor, _ stats: ak_stats) {
        name = tensor.name
        modules = tensor.terms.map(\.term.module)
        if case .adapter = tensor.source {
            kind = tensor.terms.isEmpty ? "replaced" : "delta"
        } else {
            kind = tensor.terms.isEmpty && tensor.additions.isEmpty ? (tensor.rows.isEmpty ? "cast" : "rows") : "delta"
        }
        dtype = tensor.dtype
        elements = Int(stats.elements)
        relativeSize = stats.weight2 > 0 ? (stats.delta2 / stats.weight2).squareRoot() : 0
        changes = stats.nonzero
        lost = stats.swallowed
        swallowed = stats.nonzero > 0 ? Double(stats.swallowed) / Double(stats.nonzero) : 0
        relativeError = stats.delta2 > 0 ? (stats.error2 / stats.delta2).squareRoot() : 0
        overflows = Int(stats.overflow)
        nonFinite = Int(stats.nonfinite)
    }
}

/// What rounding did to a whole merge.
public struct LossReport: Sendable {
    /// One entry for each computed tensor, in the output's order.
    public let tensors: [TensorLoss]

    /// Tensors that low-rank deltas or vectors were added to.
    public var deltas: [TensorLoss] { tensors.filter { $0.kind == "delta" } }

    /// The share of all intended changes that rounding swallowed.
    public var swallowed: Double {
        let changes = deltas.reduce(0) { $0 + $1.changes }
        return changes == 0 ? 0 : Double(deltas.reduce(0) { $0 + $1.lost }) / Double(changes)
    }

    /// Elements that became too large for their dtype.
    public var overflows: Int { tensors.reduce(0) { $0 + $1.overflows } }

    /// Elements that are not finite because an input was not.
    public var nonFinite: Int { tensors.reduce(0) { $0 + $1.nonFinite } }

    /// Tensors where most of the update was lost: over half of the changes swallowed, and a large relative error.
    public var mostlyLost: [TensorLoss] { deltas.filter { $0.swallowed > 0.5 && $0.relativeError > 0.5 } }
}

extension ak_stats {
    /// Adds another block's figures.
    mutating func add(_ other: ak_stats) {
        delta2 += other.delta2
        weight2 += other.weight2
        error2 += other.error2
        elements += other.elements
        nonzero += other.nonzero
        swallowed += other.swallowed
        overflow += other.overflow
        nonfinite += other.nonfinite
    }
}
