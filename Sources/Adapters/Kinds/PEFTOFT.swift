import Problems
import Safetensors

/// PEFT's OFT: blocks of inputs are rotated, W'[:, block] = W[:, block] · R_blockᵀ; of an embedding without transposition.
///
/// oft_R.weight (blocks × b(b - 1)/2): the upper triangle of a skew Q, row by row; one block for all inputs if they are
/// shared. R is the Cayley transform of Q or the start of its Neumann series (PEFT 0.21.2, `tuners/oft/layer.py`).
struct PEFTOFTAction: WeightAction {
    /// What the config says of all modules.
    struct Settings {
        /// `coft`: Q is limited to a norm, `eps` divided by the root of the number of blocks.
        var limit: Double?
        /// `block_share`.
        var isShared = false
        /// `num_cayley_neumann_terms`; `nil` for the exact transform.
        var terms: Int? = 5
    }

    private let tensor: TensorInfo
    private let settings: Settings
    private let isEmbedding: Bool
    private let size: Int

    var rowGroup: Int { 1 }

    init(_ parts: ModuleParts, _ settings: Settings) throws(Problem) {
        isEmbedding = parts["oft_R.weight"] == nil && parts["oft_embedding_R.weight"] != nil
        tensor = try parts.need(isEmbedding ? "oft_embedding_R.weight" : "oft_R.weight")
        self.settings = settings
        let count = tensor.shape[1]
        // b(b - 1)/2 = count; a root is near, and its neighbours make up for rounding.
        let root = Int((1 + (1 + 8 * Double(count)).squareRoot()) / 2)
        guard count < 1 << 40, let size = [root - 1, root, root + 1].first(where: { $0 * ($0 - 1) / 2 == count }) else {
            throw parts.bad(tensor, "\(tensor.shape) has \(count) numbers for a block, which is no triangle")
        }
        self.size = size
        if settings.isShared, tensor.shape[0] != 1 {
            throw parts.bad(
                tensor, "\(tensor.shape) has \(tensor.shape[0]) blocks, but the config says \"block_share\": true")
        }
    }

    func fits(_ shape: [Int]) -> Bool {
        guard shape.count >= 2 else { return false }
        let columns = shape.dropFirst().reduce(1, *)
        guard columns % size == 0 else { return false }
        return settings.isShared || columns / size == tensor.shape[0]
    }

    func load(
        shape: (rows: Int, columns: Int), _ read: ValueReader, weights: RowReader
    ) throws(Problem) -> any LoadedAction {
        let (values, size) = (try read(tensor), size)
        let count = tensor.shape[1]
        let limit = settings.limit.map { $0 / Double(tensor.shape[0]).squareRoot() }
        var rotations: [[Double]] = []
        for start in stride(from: 0, to: values.count, by: count) {
            var q = Self.skew(values[start..<start + count], size)
            if let limit {
                let norm = Rotations.norm(q)
                if norm > limit { q = q.map { $0 * (limit / norm) } }
            }
            let rotation = Self.rotation(q, size, settings.terms)
            rotations.append(isEmbedding ? rotation : DenseMatrix.transposed(rotation, rows: size, columns: size))
        }
        return ColumnBlocks(matrices: rotations, size: size, columns: shape.columns)
    }

    private static func skew(_ upper: ArraySlice<Double>, _ size: Int) -> [Double] {
        var result = [Double](repeating: 0, count: size * size)
        var rest = upper
        for i in 0..<size {
            for j in (i + 1)..<max(size, i + 1) {
                guard let value = rest.popFirst() else { return result }
                result[i * size + j] = value
                result[j * size + i] = -value
            }
        }
        return result
    }

    /// The rotation of a skew Q: (I - Q)(I + Q)⁻¹, or the sum of a series that is near (I + Q)(I - Q)⁻¹.
    ///
    /// The series I + 2Q + 2Q² + 2Q³ to its last power, which counts once; three terms are as four.
    static func rotation(_ q: [Double], _ size: Int, _ terms: Int?) -> [Double] {
        guard let terms else { return DenseMatrix.cayley(q, size: size, sign: 1) }
        var result = DenseMatrix.identity(size)
        guard terms > 1 else { return result }
        for at in q.indices { result[at] += 2 * q[at] }
        guard terms > 2 else { return result }
        var power = q
        for exponent in 2...max(3, terms - 1) {
            power = DenseMatrix.product(power, q, rows: size, inner: size, columns: size)
            let factor: Double = exponent == max(3, terms - 1) ? 1 : 2
            for at in power.indices { result[at] += factor * power[at] }
        }
        return result
    }
}

/// Blocks of columns that are multiplied from the right: W'[:, block] = W[:, block] · matrix.
struct ColumnBlocks: LoadedAction {
    /// One (size × size) for each block, or one for all.
    let matrices: [[Double]]
    let size: Int
    let columns: Int

    func apply(_ rows: Range<Int>, to weights: inout [Double]) {
        var old = [Double](repeating: 0, count: rows.count * size)
        for block in 0..<columns / size {
            for row in 0..<rows.count {
                for at in 0..<size { old[row * size + at] = weights[row * columns + block * size + at] }
            }
            let new = DenseMatrix.product(
                old, matrices[matrices.count == 1 ? 0 : block], rows: rows.count, inner: size, columns: size)
            for row in 0..<rows.count {
                for at in 0..<size { weights[row * columns + block * size + at] = new[row * size + at] }
            }
        }
    }
}
