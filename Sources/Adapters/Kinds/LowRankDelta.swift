import Problems
import Safetensors

/// A plain product D = up · down, where it is part of another change: up (out × r), down (r × in·kernel).
struct LowRankDelta: RowDelta {
    private let up: TensorInfo
    private let down: TensorInfo
    let shape: (rows: Int, columns: Int)
    let rank: Int

    /// Takes `lora_up.weight` and `lora_down.weight`, whose trailing ones do not matter.
    init(_ parts: ModuleParts) throws(Problem) {
        up = try parts.need("lora_up.weight", dimensions: 2...5)
        down = try parts.need("lora_down.weight", dimensions: 2...5)
        rank = down.shape[0]
        guard up.shape[1] == rank, up.shape.dropFirst(2).allSatisfy({ $0 == 1 }) else {
            throw parts.bad(up, "\(up.shape) does not go with '\(down.name)' \(down.shape)")
        }
        shape = (up.shape[0], down.shape.dropFirst().reduce(1, *))
    }

    func load(_ read: ValueReader) throws(Problem) -> any LoadedDelta {
        LoadedProduct(left: try read(up), right: try read(down), rank: rank, columns: shape.columns)
    }
}

/// A product whose factors are in memory: left (rows × rank), right (rank × columns).
struct LoadedProduct: LoadedDelta {
    let left: [Double]
    let right: [Double]
    let rank: Int
    let columns: Int

    func add(_ rows: Range<Int>, times scale: Double, to target: inout [Double]) {
        let part = Array(left[rows.lowerBound * rank..<rows.upperBound * rank])
        let product = DenseMatrix.product(part, right, rows: rows.count, inner: rank, columns: columns)
        for at in target.indices { target[at] += scale * product[at] }
    }
}
