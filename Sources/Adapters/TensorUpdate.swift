import Safetensors

/// A tensor of the adapter seen as a matrix, or as one matrix for each expert; strides count elements.
public struct Factor: Sendable, Equatable {
    /// The tensor in the adapter's file.
    public let tensor: TensorInfo
    /// Where the first element of the first matrix is.
    public var offset = 0
    /// From one expert's matrix to the next one's.
    public var batchStride = 0
    /// From one row to the next.
    public var rowStride: Int
    /// From one column to the next.
    public var columnStride: Int

    /// The same elements as the transposed matrix.
    public var transposed: Factor {
        Factor(
            tensor: tensor, offset: offset, batchStride: batchStride, rowStride: columnStride, columnStride: rowStride)
    }
}

/// How a base tensor is seen when its delta is a product: `batches` matrices of `rows` × `columns`, row-major.
public struct MatrixView: Sendable, Equatable {
    /// One, or the number of experts.
    public let batches: Int
    /// Rows of each matrix in the file.
    public let rows: Int
    /// Columns of each matrix in the file: whatever follows the first dimension.
    public let columns: Int

    /// A view of `batches` matrices.
    public init(batches: Int, rows: Int, columns: Int) {
        self.batches = batches
        self.rows = rows
        self.columns = columns
    }
}

/// DoRA's magnitude, and along which axis of the view its outputs lie.
public struct Magnitude: Sendable, Equatable {
    /// The magnitudes, one for each output.
    public let tensor: TensorInfo
    /// Whether each row of the view is one output (linear, convolution) or each column (Conv1D, embedding).
    public let isPerRow: Bool
    /// What is added to the norm: LyCORIS does, PEFT does not.
    public var epsilon = 0.0
}

/// A low-rank delta `scale · left · right` for one tensor.
public struct LowRankTerm: Sendable, Equatable {
    /// The adapted module, as the adapter names it.
    public let module: String
    /// (rows × rank) for each batch.
    public var left: Factor
    /// (rank × columns) for each batch.
    public let right: Factor
    /// The rank.
    public let rank: Int
    /// alpha as the config resolves it.
    public let alpha: Double
    /// The scale that the config gives: alpha / rank, or alpha / sqrt(rank).
    public let scale: Double
    /// The view in which the product is taken.
    public let view: MatrixView
    /// For DoRA.
    public let magnitude: Magnitude?
    /// The rows of the view that it changes, if not all: then row 0 of `left` is the first of these.
    public var rowRange: Range<Int>?
}

/// Everything that one adapter does to one tensor of the base.
///
/// The order of the parts: `replacement`, then `tokenRows`, then the deltas.
public struct TensorUpdate: Sendable, Equatable {
    /// The tensor's name in the output.
    public private(set) var name: String
    /// The base tensor it starts from; `nil` if the base has none.
    public var source: String?
    /// The shape in the output.
    public var shape: [Int]
    /// A whole new value.
    public var replacement: TensorInfo?
    /// Whether the replacement is of what the adapter was trained on (a grown vocabulary, a copy of the base) and not of
    /// what it learned, so that a weight does not concern it.
    public var replacesBase = false
    /// New rows.
    public var tokenRows: TokenRows?
    /// Low-rank deltas.
    public var terms: [LowRankTerm] = []
    /// Values that are added as they are, with their scale: the bias of an up projection, a difference of full size.
    public var addition: (tensor: TensorInfo, scale: Double)?
    /// Deltas of other kinds, and at most one action.
    public var changes: [ModuleChange] = []

    init(name: String, source: String?, shape: [Int]) {
        self.name = name
        self.source = source
        self.shape = shape
    }

    /// No change yet of a tensor that starts from `source`.
    init(of tensor: TensorInfo, source: String) { self.init(name: tensor.name, source: source, shape: tensor.shape) }

    /// Whether it changes nothing.
    var isEmpty: Bool { replacement == nil && tokenRows == nil && terms.isEmpty && addition == nil && changes.isEmpty }

    /// Makes it the same change of another tensor.
    mutating func rename(_ name: String, source: String) {
        self.name = name
        self.source = source
    }

    /// Compares all parts.
    public static func == (a: TensorUpdate, b: TensorUpdate) -> Bool {
        a.name == b.name && a.source == b.source && a.shape == b.shape && a.replacement == b.replacement
            && a.tokenRows == b.tokenRows && a.terms == b.terms && a.addition?.tensor == b.addition?.tensor
            && a.addition?.scale == b.addition?.scale && a.changes.map(\.tensors) == b.changes.map(\.tensors)
    }
}
