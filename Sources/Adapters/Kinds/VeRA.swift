import Problems
import Safetensors

/// VeRA: D = (λ_b ∘ B) · (λ_d ∘ A), where all modules share random A and B and take the first rows and columns of them.
///
/// vera_A (r × most inputs), vera_B (most outputs × r), vera_lambda_b (out), vera_lambda_d (r)
/// (PEFT 0.21.2, `tuners/vera/layer.py`). How many inputs a module has, only its weight says.
struct VeRADelta: RowDelta {
    private let a: TensorInfo
    private let b: TensorInfo
    private let outputScales: TensorInfo
    private let rankScales: TensorInfo
    /// Whether the weight is (in × out).
    private let isTransposed: Bool
    private var inputs: Int

    var rank: Int { a.shape[0] }
    private var outputs: Int { outputScales.shape[0] }

    var shape: (rows: Int, columns: Int) { isTransposed ? (inputs, outputs) : (outputs, inputs) }

    init(_ parts: ModuleParts, isTransposed: Bool) throws(Problem) {
        a = try parts.need("vera_A")
        b = try parts.need("vera_B")
        outputScales = try parts.need("vera_lambda_b", dimensions: 1...1)
        rankScales = try parts.need("vera_lambda_d", dimensions: 1...1)
        self.isTransposed = isTransposed
        inputs = a.shape[1]
        guard b.shape[1] == a.shape[0] else {
            throw parts.bad(b, "\(b.shape) does not go with '\(a.name)' \(a.shape)")
        }
        guard rankScales.shape[0] == a.shape[0] else {
            throw parts.bad(rankScales, "\(rankScales.shape) does not go with '\(a.name)' \(a.shape)")
        }
        guard outputScales.shape[0] <= b.shape[0] else {
            throw parts.bad(outputScales, "\(outputScales.shape) has more outputs than '\(b.name)' \(b.shape)")
        }
    }

    func fitted(to shape: [Int]) -> (any RowDelta)? {
        guard shape.count == 2, shape[isTransposed ? 1 : 0] == outputs else { return nil }
        var copy = self
        copy.inputs = shape[isTransposed ? 0 : 1]
        return (1...a.shape[1]).contains(copy.inputs) ? copy : nil
    }

    func load(_ read: ValueReader) throws(Problem) -> any LoadedDelta {
        let (left, right) = try product(read)
        return LoadedProduct(left: left, right: right, rank: rank, columns: shape.columns)
    }

    func factors(_ read: ValueReader) throws(Problem) -> DeltaFactors? {
        let (left, right) = try product(read)
        return DeltaFactors(left: left, right: right, rank: rank)
    }

    private func product(_ read: ValueReader) throws(Problem) -> (left: [Double], right: [Double]) {
        let (most, rank) = (a.shape[1], rank)
        let (down, up) = (try read(a), try read(b))
        let (byOutput, byRank) = (try read(outputScales), try read(rankScales))
        var left: [Double] = []
        var right: [Double] = []
        for row in 0..<outputs { left += up[row * rank..<(row + 1) * rank].map { $0 * byOutput[row] } }
        for row in 0..<rank { right += down[row * most..<row * most + inputs].map { $0 * byRank[row] } }
        guard isTransposed else { return (left, right) }
        return (
            DenseMatrix.transposed(right, rows: rank, columns: inputs),
            DenseMatrix.transposed(left, rows: outputs, columns: rank)
        )
    }
}
