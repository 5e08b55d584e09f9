import Problems
import Safetensors

/// DoRA over a delta of any kind: W' = m · V / (‖V‖ + ε) with V = W + scale · D.
///
/// LyCORIS (`lycoris/functional/general.py`) has one magnitude for each output, (out, 1...), with the norms of rows, or one
/// for each input, (1, in, 1...), with norms over outputs and kernel.
struct MagnitudeAction: WeightAction {
    let delta: any RowDelta
    let scale: Double
    let magnitudes: TensorInfo
    /// What is added to norms.
    let epsilon: Double
    let isPerOutput: Bool

    var rowGroup: Int { 1 }

    init(_ delta: any RowDelta, scale: Double, _ magnitudes: TensorInfo, _ parts: ModuleParts) throws(Problem) {
        (self.delta, self.scale, self.magnitudes) = (delta, scale, magnitudes)
        epsilon = LyCORISKinds.epsilon
        let (count, shape) = (magnitudes.elementCount, delta.shape)
        let isInput = magnitudes.shape.count > 1 && magnitudes.shape[0] == 1 && shape.rows != 1
        isPerOutput = !isInput
        guard magnitudes.dtype.kernel != nil, count > 0, isInput ? shape.columns % count == 0 : count == shape.rows
        else {
            throw parts.bad(
                magnitudes, "has \(count) magnitudes, which do not go with a delta of \(shape.rows) × \(shape.columns)")
        }
    }

    func fits(_ shape: [Int]) -> Bool {
        guard delta.fitted(to: shape) != nil, shape.count >= 2 else { return false }
        return isPerOutput || shape[1] == magnitudes.elementCount
    }

    func load(
        shape: (rows: Int, columns: Int), _ read: ValueReader, weights: RowReader
    ) throws(Problem) -> any LoadedAction {
        let (loaded, values) = (try delta.load(read), try read(magnitudes))
        guard !isPerOutput else {
            return Loaded(delta: loaded, scale: scale, columns: shape.columns, epsilon: epsilon, magnitudes: values)
        }
        let kernel = shape.columns / values.count
        var sums = [Double](repeating: 0, count: values.count)
        let step = max(1, (1 << 18) / max(1, shape.columns))
        for start in stride(from: 0, to: shape.rows, by: step) {
            let rows = start..<min(shape.rows, start + step)
            var block = try weights(rows)
            loaded.add(rows, times: scale, to: &block)
            for at in block.indices { sums[at % shape.columns / kernel] += block[at] * block[at] }
        }
        let factors = zip(values, sums).map { $0 / ($1.squareRoot() + epsilon) }
        return Loaded(
            delta: loaded, scale: scale, columns: shape.columns, epsilon: epsilon, magnitudes: values,
            byInput: (factors, kernel))
    }

    private struct Loaded: LoadedAction {
        let delta: any LoadedDelta
        let scale: Double
        let columns: Int
        let epsilon: Double
        let magnitudes: [Double]
        var byInput: (factors: [Double], kernel: Int)?

        func apply(_ rows: Range<Int>, to weights: inout [Double]) {
            delta.add(rows, times: scale, to: &weights)
            if let (factors, kernel) = byInput {
                for at in weights.indices { weights[at] *= factors[at % columns / kernel] }
                return
            }
            for (place, row) in rows.enumerated() {
                let range = place * columns..<(place + 1) * columns
                let norm = weights[range].reduce(0) { $0 + $1 * $1 }.squareRoot()
                let factor = magnitudes[row] / (norm + epsilon)
                for at in range { weights[at] *= factor }
            }
        }
    }
}
