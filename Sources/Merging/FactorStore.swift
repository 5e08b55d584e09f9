import Adapters
import Problems
import Safetensors
import Synchronization
import Tensors

/// Values of an adapter's tensor.
enum FactorValues: Sendable {
    case float([Float])
    case double([Double])

    var byteCount: Int {
        switch self {
        case .float(let values): values.count * 4
        case .double(let values): values.count * 8
        }
    }
}

/// Tensors of the adapters, read when they are first needed; a few of them are kept, since neighbours share them.
final class FactorStore: Sendable {
    private struct Key: Hashable {
        let input: Int
        let name: String
    }

    /// Bytes that stay besides what is in use.
    private static let limit = 24 << 20
    /// Tensors that stay: only neighbours share them, and a long list would have to be searched for each.
    private static let most = 32

    private let adapters: [Adapter]
    private let kept = Mutex<[(key: Key, values: FactorValues)]>([])

    init(_ inputs: [MergeInput]) { adapters = inputs.map(\.adapter) }

    func values(input: Int, _ tensor: TensorInfo) throws(Problem) -> FactorValues {
        let key = Key(input: input, name: tensor.name)
        if let found = kept.withLock({ $0.first { $0.key == key }?.values }) { return found }
        let bytes = try adapters[input].file.read(tensor)
        let values: FactorValues =
            tensor.dtype == .f64
            ? .double(try TensorValues.doubles(bytes, .f64)) : .float(try TensorValues.floats(bytes, tensor.dtype))
        kept.withLock { list in
            list.append((key, values))
            while list.count > 1, list.count > Self.most || list.reduce(0, { $0 + $1.values.byteCount }) > Self.limit {
                list.removeFirst()
            }
        }
        return values
    }
}

/// The factors of one tensor of the output, all adapters joined along the rank, ready for the kernels.
final class PreparedFactors: Sendable {
    /// The ranks of all terms together.
    let rank: Int
    private let left: [(values: FactorValues, factor: Factor, rank: Int, scale: Double, range: Range<Int>?)]
    private let right: [(values: FactorValues, factor: Factor, rank: Int)]

    init(_ terms: [(input: Int, weight: Double, term: LowRankTerm)], store: FactorStore) throws(Problem) {
        rank = terms.reduce(0) { $0 + $1.term.rank }
        left = try terms.map { (entry) throws(Problem) in
            let values = try store.values(input: entry.input, entry.term.left.tensor)
            return (values, entry.term.left, entry.term.rank, entry.weight * entry.term.scale, entry.term.rowRange)
        }
        right = try terms.map { (entry) throws(Problem) in
            (try store.values(input: entry.input, entry.term.right.tensor), entry.term.right, entry.term.rank)
        }
    }

    /// R (rank × columns) of a batch in float32.
    func rightFloats(batch: Int, columns: Int) -> [Float] {
        var result: [Float] = []
        result.reserveCapacity(rank * columns)
        for part in right {
            let start = part.factor.offset + batch * part.factor.batchStride
            for k in 0..<part.rank {
                let row = start + k * part.factor.rowStride
                switch part.values {
                case .float(let values):
                    if part.factor.columnStride == 1 {
                        result += values[row..<row + columns]
                    } else {
                        for j in 0..<columns { result.append(values[row + j * part.factor.columnStride]) }
                    }
                case .double(let values):
                    for j in 0..<columns { result.append(Float(values[row + j * part.factor.columnStride])) }
                }
            }
        }
        return result
    }

    /// R (rank × columns) of a batch in float64.
    func rightDoubles(batch: Int, columns: Int) -> [Double] {
        var result: [Double] = []
        result.reserveCapacity(rank * columns)
        for part in right {
            let start = part.factor.offset + batch * part.factor.batchStride
            for k in 0..<part.rank {
                let row = start + k * part.factor.rowStride
                switch part.values {
                case .float(let values):
                    for j in 0..<columns { result.append(Double(values[row + j * part.factor.columnStride])) }
                case .double(let values):
                    for j in 0..<columns { result.append(values[row + j * part.factor.columnStride]) }
                }
            }
        }
        return result
    }

    /// Rows of L (rows × rank), scaled, into `result`.
    func left(batch: Int, rows: Range<Int>, into result: inout [Double]) {
        if result.count < rows.count * rank { result = [Double](repeating: 0, count: rows.count * rank) }
        var column = 0
        for part in left {
            let start = part.factor.offset + batch * part.factor.batchStride
            if let range = part.range {
                gather(part, range, rows, column, into: &result)
                column += part.rank
                continue
            }
            let shape = (rows: rows, columns: part.rank, target: column, width: rank)
            let strides = (start: start, row: part.factor.rowStride, column: part.factor.columnStride)
            switch part.values {
            case .float(let values): Self.gather(values, strides, shape, part.scale, into: &result)
            case .double(let values): Self.gather(values, strides, shape, part.scale, into: &result)
            }
            column += part.rank
        }
    }

    /// Rows of a factor that only some rows of the weight have, and zeros for the others.
    private func gather(
        _ part: (values: FactorValues, factor: Factor, rank: Int, scale: Double, range: Range<Int>?),
        _ range: Range<Int>,
        _ rows: Range<Int>, _ column: Int, into result: inout [Double]
    ) {
        for (at, row) in rows.enumerated() {
            for k in 0..<part.rank {
                guard range.contains(row) else {
                    result[at * rank + column + k] = 0
                    continue
                }
                let from =
                    part.factor.offset + (row - range.lowerBound) * part.factor.rowStride + k * part.factor.columnStride
                let value: Double =
                    switch part.values {
                    case .float(let values): Double(values[from])
                    case .double(let values): values[from]
                    }
                result[at * rank + column + k] = part.scale * value
            }
        }
    }

    /// Copies a strided matrix into some columns of another, scaled.
    @inline(__always)
    private static func gather<F: BinaryFloatingPoint>(
        _ values: [F], _ strides: (start: Int, row: Int, column: Int),
        _ shape: (rows: Range<Int>, columns: Int, target: Int, width: Int), _ scale: Double, into result: inout [Double]
    ) {
        let source = values.span
        var target = result.mutableSpan
        for (at, i) in shape.rows.enumerated() {
            var from = strides.start + i * strides.row
            let to = at * shape.width + shape.target
            for k in 0..<shape.columns {
                target[to + k] = scale * Double(source[from])
                from += strides.column
            }
        }
    }
}
