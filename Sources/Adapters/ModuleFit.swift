import Safetensors

/// How a pair of factors lies on a weight.
enum ModuleFit: Equatable {
    /// W (out × in), or a convolution's (out × in × kernel...) seen as a matrix.
    case rowsAreOutputs
    /// W (in × out), as GPT-2's Conv1D stores it.
    case columnsAreOutputs
    /// Both are possible, since in = out.
    case square
    /// An embedding (vocabulary × dimension).
    case embedding
    /// Fused experts (expert × out × in).
    case experts(count: Int)
    /// Fused experts (expert × in × out).
    case transposedExperts(count: Int)
    /// Fused experts with in = out: both are possible.
    case squareExperts(count: Int)
    /// The convolution has groups, for which PEFT defines no merge.
    case groups

    /// The fits of `module` on a weight of `shape`, or `nil` if there is none.
    ///
    /// - Parameter rank: the rank of one expert, as the config gives it.
    init?(_ module: AdapterModule, shape: [Int], rank: Int) {
        var (a, b) = (module.down.shape, module.up.shape)
        guard a.count >= 2, b.count == a.count, a[0] > 0 else { return nil }
        if shape.count == 2, a.count > 2, a[2...].allSatisfy({ $0 == 1 }), b[2...].allSatisfy({ $0 == 1 }) {
            // sd-scripts stores factors of some linear layers as those of 1×1 convolutions.
            (a, b) = (Array(a[..<2]), Array(b[..<2]))
        }
        if a.count == 2, shape.count > 2, shape[2...].allSatisfy({ $0 == 1 }), b[1] == a[0], shape[0] == b[0],
            shape[1] == a[1], !module.isEmbedding
        {
            // A 1×1 convolution, whose factors are stored as those of a linear layer.
            self = .rowsAreOutputs
            return
        }
        if a.count == 2, shape.count > 3, b[1] == a[0], shape[0] == b[0], shape.dropFirst().reduce(1, *) == a[1],
            !module.isEmbedding
        {
            // AdaLoRA's factors of a convolution are matrices.
            self = .rowsAreOutputs
            return
        }
        if module.isEmbedding {
            guard a.count == 2, shape == [a[1], b[0]], b[1] == a[0] else { return nil }
            self = .embedding
        } else if shape.count == 3, a.count == 2 {
            self.init(experts: a, b, shape: shape, rank: rank)
        } else if a.count == 2 {
            guard shape.count == 2, b[1] == a[0] else { return nil }
            let (out, into) = (b[0], a[1])
            guard shape == [out, into] || shape == [into, out] else { return nil }
            self = out == into ? .square : shape == [out, into] ? .rowsAreOutputs : .columnsAreOutputs
        } else {
            self.init(convolution: a, b, shape: shape)
        }
    }

    private init?(experts a: [Int], _ b: [Int], shape: [Int], rank: Int) {
        let count = shape[0]
        // Divided, not multiplied: a config may name any rank.
        guard count > 0, b[1] == a[0], a[0] % count == 0, a[0] / count == rank else { return nil }
        let (out, into) = (b[0], a[1])
        let plain = shape[1] == out && shape[2] == into
        let transposed = shape[1] == into && shape[2] == out
        guard plain || transposed else { return nil }
        self =
            plain && transposed
            ? .squareExperts(count: count) : plain ? .experts(count: count) : .transposedExperts(count: count)
    }

    /// A is (rank × in × kernel...), B (out × rank/groups × 1...), W (out × in/groups × kernel...).
    private init?(convolution a: [Int], _ b: [Int], shape: [Int]) {
        guard shape.count == a.count, b[0] == shape[0], a[2...].elementsEqual(shape[2...]) else { return nil }
        guard b[2...].allSatisfy({ $0 == 1 }), b[1] > 0, a[0] % b[1] == 0 else { return nil }
        let groups = a[0] / b[1]
        if groups == 1 {
            guard a[1] == shape[1] else { return nil }
            self = .rowsAreOutputs
        } else {
            self = .groups
        }
    }
}

/// Builds the factors of a fit.
enum FactorBuilder {
    /// The view and the two factors of `module` on a weight of `shape`.
    static func build(_ module: AdapterModule, fit: ModuleFit, shape: [Int], rank: Int)
        -> (view: MatrixView, left: Factor, right: Factor)
    {
        let rows = shape.first ?? 0
        let columns = shape.dropFirst().reduce(1, *)
        switch fit {
        case .experts(let count), .squareExperts(let count):
            let (left, right) = expertFactors(module, count: count, rank: rank)
            return (MatrixView(batches: count, rows: shape[1], columns: shape[2]), left, right)
        case .transposedExperts(let count):
            let (left, right) = expertFactors(module, count: count, rank: rank)
            return (MatrixView(batches: count, rows: shape[1], columns: shape[2]), right.transposed, left.transposed)
        case .columnsAreOutputs, .embedding:
            let (left, right) = plainFactors(module)
            return (MatrixView(batches: 1, rows: rows, columns: columns), right.transposed, left.transposed)
        case .rowsAreOutputs, .square, .groups:
            let (left, right) = plainFactors(module)
            return (MatrixView(batches: 1, rows: rows, columns: columns), left, right)
        }
    }

    /// B (out × rank) and A (rank × in·kernel...).
    private static func plainFactors(_ module: AdapterModule) -> (left: Factor, right: Factor) {
        let width = module.down.shape.dropFirst().reduce(1, *)
        return (
            Factor(tensor: module.up, rowStride: module.down.shape[0], columnStride: 1),
            Factor(tensor: module.down, rowStride: width, columnStride: 1)
        )
    }

    /// PEFT packs A expert by expert (rows e·r ..< (e+1)·r) but B rank by rank (columns e, E+e, 2E+e, ...).
    static func expertFactors(_ module: AdapterModule, count: Int, rank: Int) -> (left: Factor, right: Factor) {
        let width = module.down.shape[1]
        return (
            Factor(tensor: module.up, batchStride: 1, rowStride: count * rank, columnStride: count),
            Factor(tensor: module.down, batchStride: rank * width, rowStride: width, columnStride: 1)
        )
    }
}
