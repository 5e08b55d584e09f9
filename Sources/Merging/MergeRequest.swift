import Adapters
import Problems
import Safetensors

/// An adapter that takes part in a merge.
public struct MergeInput: Sendable {
    /// The adapter.
    public let adapter: Adapter
    /// What its delta is multiplied by.
    public let weight: Double
    /// What it does to the base.
    public let resolution: Resolution

    /// Joins an adapter, its weight, and what it does to the base.
    public init(adapter: Adapter, weight: Double, resolution: Resolution) {
        self.adapter = adapter
        self.weight = weight
        self.resolution = resolution
    }
}

/// How the output is to be written.
public struct MergeOptions: Sendable {
    /// Cast every floating-point weight to this type; `nil` keeps each one's own.
    public var dtype: DType?
    /// Distribute the tensors anew over files of at most this many bytes; `nil` keeps the base's files.
    public var maxShardSize: Int?
    /// Record SHA-256 of base and output files, and write a manifest.
    public var digests = false
    /// The version of the program, for provenance.
    public var version: String

    /// Options that keep everything as the base has it.
    public init(version: String) { self.version = version }
}

/// One adapter's change of one tensor, and its part in the sum.
struct WeightedUpdate: Sendable {
    let input: Int
    let weight: Double
    let update: TensorUpdate
}

/// Where the bytes of a tensor come from before anything is added.
package enum TensorSource: Sendable, Equatable {
    /// A tensor of the base, by shard.
    case base(shard: Int, TensorInfo)
    /// A tensor of an adapter, by its place among the inputs.
    case adapter(input: Int, TensorInfo)

    package var info: TensorInfo {
        switch self {
        case .base(_, let info), .adapter(_, let info): info
        }
    }
}

/// The scales of an FP8 weight that is stored with them.
package struct ScaleTable: Sendable, Equatable {
    /// The tensor of scales in the base.
    package let tensor: TensorInfo
    package let shard: Int
    /// How many rows and columns share one scale.
    package let blockRows: Int
    package let blockColumns: Int
}

/// One tensor of the output.
package struct PlannedTensor: Sendable {
    package let name: String
    package let dtype: DType
    package let shape: [Int]
    package let source: TensorSource
    /// Low-rank deltas, in the order in which the adapters were named.
    package var terms: [(input: Int, weight: Double, term: LowRankTerm)] = []
    /// What is added as it is.
    package var additions: [(input: Int, tensor: TensorInfo, scale: Double)] = []
    /// Changes of other kinds.
    package var changes: [(input: Int, weight: Double, change: ModuleChange)] = []
    /// Rows that are replaced.
    package var rows: [(input: Int, rows: TokenRows)] = []
    package var scales: ScaleTable?

    /// Whether the bytes of the source are the bytes of the output.
    var isCopy: Bool {
        hasNoSum && rows.isEmpty && source.info.dtype == dtype
    }

    /// Whether its elements are computed, one by one.
    var isComputed: Bool { !isCopy && byteCount > 0 }

    /// Whether an adapter changes or brings this tensor.
    var isChanged: Bool {
        if case .adapter = source { return true }
        return !(hasNoSum && rows.isEmpty)
    }

    /// Whether nothing is added to it.
    private var hasNoSum: Bool { terms.isEmpty && additions.isEmpty && changes.isEmpty }

    /// The change that depends on the weight itself, if there is one.
    var action: (input: Int, action: any WeightAction)? {
        for entry in changes { if case .action(let action) = entry.change.effect { return (entry.input, action) } }
        return nil
    }

    var byteCount: Int { shape.reduce(1, *) * dtype.bits / 8 }
    package var magnitude: Magnitude? { terms.lazy.compactMap(\.term.magnitude).first }

    /// The matrices that the deltas are products for; a tensor without products is one row.
    var view: MatrixView {
        if let view = terms.first?.term.view { return view }
        if shape.count >= 2, shape[0] > 0 {
            return MatrixView(batches: 1, rows: shape[0], columns: shape.dropFirst().reduce(1, *))
        }
        return MatrixView(batches: 1, rows: 1, columns: shape.reduce(1, *))
    }
}
