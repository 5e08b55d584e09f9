import Problems
import Safetensors

/// IA3: each output or each input of a weight is multiplied by a learned factor.
///
/// PEFT (`tuners/ia3/layer.py`): W' = l · W. LyCORIS (`lycoris/modules/ia3.py`): W' = (1 + l) · W.
struct IA3Action: WeightAction {
    /// What the factors belong to.
    enum Axis { case outputs, inputs }

    /// One factor for each place of the axis.
    let factors: TensorInfo
    let axis: Axis
    /// What is added to the factors.
    let offset: Double

    var rowGroup: Int { 1 }

    func fits(_ shape: [Int]) -> Bool {
        switch axis {
        case .outputs: shape.first == factors.elementCount
        case .inputs: shape.count >= 2 && shape[1] == factors.elementCount
        }
    }

    func load(
        shape: (rows: Int, columns: Int), _ read: ValueReader, weights: RowReader
    ) throws(Problem) -> any LoadedAction {
        let values = try read(factors).map { $0 + offset }
        // A vector is one row, whose columns are its outputs.
        let isByRow = axis == .outputs && shape.rows == values.count
        return Loaded(factors: values, columns: shape.columns, isByRow: isByRow)
    }

    private struct Loaded: LoadedAction {
        let factors: [Double]
        let columns: Int
        let isByRow: Bool

        func apply(_ rows: Range<Int>, to weights: inout [Double]) {
            let kernel = max(1, columns / factors.count)
            for at in weights.indices {
                weights[at] *= factors[isByRow ? rows.lowerBound + at / columns : at % columns / kernel]
            }
        }
    }
}
