import Problems
import Safetensors

/// GLoRA of linear layers: W' = W + scale · (W · a1 · a2 + b1 · b2).
///
/// a1 (in × r), a2 (r × in), b1 (out × r), b2 (r × in) (`lycoris/modules/glora.py`).
struct GLoRAAction: WeightAction {
    /// What its tensors are called.
    static let parts: Set<String> = ["a1.weight", "a2.weight", "b1.weight", "b2.weight"]

    private let a1: TensorInfo
    private let a2: TensorInfo
    private let b1: TensorInfo
    private let b2: TensorInfo
    private let scale: Double

    var rowGroup: Int { 1 }
    /// The rank that alpha is divided by.
    var rank: Int { b2.shape[0] }

    /// - Parameter alpha: divided by the rank, it is the scale; without it that is 1.
    init(_ parts: ModuleParts, alpha: Double?) throws(Problem) {
        a1 = try parts.need("a1.weight", dimensions: 2...5)
        a2 = try parts.need("a2.weight", dimensions: 2...5)
        b1 = try parts.need("b1.weight", dimensions: 2...5)
        let last = try parts.need("b2.weight", dimensions: 2...5)
        b2 = last
        scale = alpha.map { $0 / Double(last.shape[0]) } ?? 1
        for tensor in [a1, a2, b1, b2] where tensor.shape.count > 2 {
            throw Problem(
                .incompatible, "not-lora", file: parts.file, tensor: tensor.name,
                "belongs to GLoRA of a convolution, which is not read here",
                hint: "merge it with the library that trained it")
        }
        for (left, right) in [(a1, a2), (b1, b2)] where left.shape[1] != right.shape[0] {
            throw parts.bad(right, "\(right.shape) does not go with '\(left.name)' \(left.shape)")
        }
        guard a1.shape[0] == a2.shape[1], b2.shape[1] == a2.shape[1] else {
            throw parts.bad(b2, "\(b2.shape) does not go with '\(a1.name)' \(a1.shape) and '\(a2.name)' \(a2.shape)")
        }
    }

    func fits(_ shape: [Int]) -> Bool {
        shape.count >= 2 && shape[0] == b1.shape[0] && shape.dropFirst().reduce(1, *) == b2.shape[1]
    }

    func load(
        shape: (rows: Int, columns: Int), _ read: ValueReader, weights: RowReader
    ) throws(Problem) -> any LoadedAction {
        Loaded(
            a1: try read(a1),
            a: LoadedProduct(left: [], right: try read(a2), rank: a2.shape[0], columns: shape.columns),
            b: LoadedProduct(left: try read(b1), right: try read(b2), rank: rank, columns: shape.columns), scale: scale)
    }

    private struct Loaded: LoadedAction {
        let a1: [Double]
        let a: LoadedProduct
        let b: LoadedProduct
        let scale: Double

        func apply(_ rows: Range<Int>, to weights: inout [Double]) {
            let inner = DenseMatrix.product(weights, a1, rows: rows.count, inner: a.columns, columns: a.rank)
            let change = DenseMatrix.product(inner, a.right, rows: rows.count, inner: a.rank, columns: a.columns)
            for at in weights.indices { weights[at] += scale * change[at] }
            b.add(rows, times: scale, to: &weights)
        }
    }
}
