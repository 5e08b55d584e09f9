import CKernels
import Files
import Problems
import Safetensors
import Tensors

/// How large the delta s·B·A of one module is.
public struct DeltaNorm: Sendable, Equatable {
    /// The Frobenius norm and the largest singular value of one matrix.
    public struct Matrix: Sendable, Equatable {
        /// The root of the sum of all squares.
        public let frobenius: Double
        /// The largest singular value.
        public let spectral: Double
    }

    /// One for each expert, else one.
    public let matrices: [Matrix]

    /// Whether the data is free of NaN and infinities, and the norms are numbers.
    public var isFinite: Bool { matrices.allSatisfy { $0.frobenius.isFinite && $0.spectral.isFinite } }
    /// The Frobenius norm of all matrices together.
    public var frobenius: Double {
        let largest = matrices.map(\.frobenius).max() ?? 0
        guard largest > 0, largest.isFinite else { return isFinite ? largest : .nan }
        return largest * matrices.reduce(0) { $0 + ($1.frobenius / largest) * ($1.frobenius / largest) }.squareRoot()
    }
    /// The largest singular value of any of the matrices.
    public var spectral: Double { isFinite ? matrices.map(\.spectral).max() ?? 0 : .nan }
    /// How many equal singular values would give these norms; `nil` for a delta that is zero or not finite.
    ///
    /// Of experts, that of the one with the largest norm.
    public var stableRank: Double? {
        let largest = matrices.max { $0.frobenius < $1.frobenius }
        guard isFinite, let matrix = largest, matrix.spectral > 0 else { return nil }
        let ratio = matrix.frobenius / matrix.spectral
        return ratio * ratio
    }

    /// Reads the factors of `facts`; `nil` if no delta is defined for it.
    public init?(of facts: ModuleFacts, in adapter: Adapter) throws {
        guard let part = try LowRankSum.Part(facts, in: adapter.file) else { return nil }
        let sum = try LowRankSum([part], batches: facts.experts)
        let squares = (0..<facts.experts).map(sum.squaredNorm)
        let refined = squares.contains { !$0.isExact } ? try sum.refinedSquaredNorms() : []
        matrices = squares.enumerated().map { batch, square in
            let value = square.isExact ? square.value : refined[batch]
            // Rounding must not make the part larger than the whole.
            let frobenius = max(0, value).squareRoot()
            guard value.isFinite else { return Matrix(frobenius: .nan, spectral: .nan) }
            return Matrix(frobenius: frobenius, spectral: min(frobenius, sum.spectralNorm(batch)))
        }
    }
}

/// Frobenius norms of the base's weights, each tensor read once.
public struct WeightNorms: Sendable {
    private let base: Checkpoint
    private let traits: BaseTraits
    private var sources: [String: Set<String>] = [:]
    private var squares: [String: Double] = [:]

    /// Finds the base tensors of each module through `resolution`.
    public init(base: Checkpoint, resolution: Resolution) {
        self.base = base
        traits = resolution.traits
        for update in resolution.updates {
            guard let source = update.source else { continue }
            // Both factors may be transposed, so either may be A.
            for factor in update.terms.flatMap({ [$0.left, $0.right] }) {
                sources[factor.tensor.name, default: []].insert(source)
            }
        }
    }

    /// Bytes that the norms of all modules take to read.
    public var byteCount: Int {
        Set(sources.values.joined()).reduce(0) { $0 + (base.lookup($1)?.info.byteCount ?? 0) }
    }

    /// The norm of all weights that the delta of `facts` goes to; `nil` if the base has none that can be read.
    public mutating func norm(of facts: ModuleFacts, progress: (Int) -> Void) throws -> Double? {
        guard let names = sources[facts.module.down.name] ?? tiedSource(of: facts) else { return nil }
        var sum = 0.0
        for name in names.sorted() {
            if squares[name] == nil { squares[name] = try squaredNorm(name, progress) }
            guard let square = squares[name] else { return nil }
            sum += square
        }
        return sum.squareRoot()
    }

    /// A tied head that does what the embedding does has no place of its own in the base.
    private func tiedSource(of facts: ModuleFacts) -> Set<String>? {
        guard traits.isHead(facts.path) else { return nil }
        return SharedHead(base, traits).map { [$0.embedding.name] }
    }

    private func squaredNorm(_ name: String, _ progress: (Int) -> Void) throws -> Double? {
        guard let place = base.lookup(name), let kernel = place.info.dtype.kernel else { return nil }
        let (file, info, size) = (base.shards[place.shard].file, place.info, place.info.dtype.bits / 8)
        let columns = max(1, info.shape.last ?? 1)
        let scales = try blockScales(info) ?? BlockScales(values: [1], rows: .max, columns: columns)
        // Pieces that stay in the second-level cache, in whole rows.
        let step = max(1, (1 << 18) / columns)
        var buffer = [UInt8](repeating: 0, count: min(info.byteCount, step * columns * size))
        var sum = 0.0
        for start in stride(from: 0, to: info.elementCount / columns, by: step) {
            try checkInterrupted()
            let rows = start..<min(info.elementCount / columns, start + step)
            let range = rows.lowerBound * columns * size..<rows.upperBound * columns * size
            try unsafe buffer.withUnsafeMutableBytes { try unsafe file.read(info, bytes: range, into: $0) }
            progress(range.count)
            for row in rows {
                for column in stride(from: 0, to: columns, by: scales.columns) {
                    let count = min(scales.columns, columns - column)
                    var square = 0.0
                    unsafe buffer.withUnsafeBytes { source in
                        guard let first = source.baseAddress else { return }
                        let at = ((row - rows.lowerBound) * columns + column) * size
                        unsafe ak_row_sumsq(
                            kernel, first + at, columns, 1, count, nil, 0, scales[row, column], &square)
                    }
                    sum += square
                }
            }
        }
        return sum
    }

    /// The scales of an FP8 weight: one for all, one for each row, or one for each block.
    private func blockScales(_ info: TensorInfo) throws -> BlockScales? {
        guard info.dtype.bits == 8, info.shape.count == 2 else { return nil }
        let (rows, columns) = (info.shape[0], info.shape[1])
        for suffix in ["_scale_inv", "_scale"] {
            guard let place = base.lookup(info.name + suffix), place.info.dtype.kernel != nil else { continue }
            let values = try TensorValues.doubles(base.shards[place.shard].file.read(place.info), place.info.dtype)
            let block =
                values.count == 1
                ? (rows, columns)
                : values.count == rows ? (1, columns) : traits.scaleBlock ?? (128, 128)
            let table = BlockScales(values: values, rows: max(1, block.0), columns: max(1, block.1), of: columns)
            if values.count == (rows + table.rows - 1) / table.rows * table.perRow { return table }
        }
        return nil
    }
}

/// Factors that the numbers of a weight are multiplied by, block by block.
private struct BlockScales {
    let values: [Double]
    let rows: Int
    let columns: Int
    let perRow: Int

    init(values: [Double], rows: Int, columns: Int, of width: Int? = nil) {
        self.values = values
        self.rows = rows
        self.columns = columns
        perRow = ((width ?? columns) + columns - 1) / columns
    }

    subscript(row: Int, column: Int) -> Double { values[row / rows * perRow + column / columns] }
}
