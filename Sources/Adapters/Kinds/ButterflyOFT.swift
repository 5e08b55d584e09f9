import Problems
import Safetensors

/// LyCORIS's BOFT: stages of rotations of outputs, each between outputs that lie further apart.
///
/// oft_blocks (stages × count × size × size). Stage i sorts each run of 2k = 2^i · size outputs into pairs, (2, k) → (k, 2),
/// rotates blocks of `size` by R (not transposed, R as for Diag-OFT with one norm over all stages), and sorts back
/// (`lycoris/modules/boft.py`).
struct ButterflyAction: WeightAction {
    private let blocks: TensorInfo
    private let rescale: TensorInfo?
    private let constraint: Double
    private let outputs: Int
    /// Rows that the stages mix with one another: the longest run.
    let rowGroup: Int

    /// - Parameter constraint: the module's `alpha`; 0 for no limit.
    init(_ parts: ModuleParts, constraint: Double) throws(Problem) {
        blocks = try parts.need("oft_blocks", dimensions: 4...4)
        self.constraint = constraint
        let (stages, count, size) = (blocks.shape[0], blocks.shape[1], blocks.shape[2])
        outputs = count * size
        guard size == blocks.shape[3], size % 2 == 0, stages <= 48, count % (1 << (stages - 1)) == 0 else {
            throw parts.bad(
                blocks, "\(blocks.shape) is no butterfly: \(stages) stages do not divide \(outputs) outputs")
        }
        rowGroup = size << (stages - 1)
        rescale = try OutputScales.find(parts, outputs: outputs)
    }

    func fits(_ shape: [Int]) -> Bool { shape.count >= 2 && shape[0] == outputs }

    func load(
        shape: (rows: Int, columns: Int), _ read: ValueReader, weights: RowReader
    ) throws(Problem) -> any LoadedAction {
        let size = blocks.shape[2]
        return Loaded(
            rotations: Rotations.lycoris(try read(blocks), size: size, limit: constraint * Double(outputs)),
            stages: blocks.shape[0], count: blocks.shape[1], size: size, columns: shape.columns,
            rescale: try rescale.map { (tensor) throws(Problem) in try read(tensor) })
    }

    private struct Loaded: LoadedAction {
        let rotations: [Double]
        let stages: Int
        let count: Int
        let size: Int
        let columns: Int
        let rescale: [Double]?

        func apply(_ rows: Range<Int>, to weights: inout [Double]) {
            for stage in 0..<stages {
                let half = (size << stage) / 2
                for block in 0..<rows.count / size { turn(stage, half, block, rows, &weights) }
            }
            OutputScales.apply(rescale, rows, columns, &weights)
        }

        /// Rotates one block of sorted rows, where they lie.
        private func turn(_ stage: Int, _ half: Int, _ block: Int, _ rows: Range<Int>, _ weights: inout [Double]) {
            let places = (0..<size).map { (at: Int) -> Int in
                let sorted = block * size + at
                let (run, inside) = (sorted / (2 * half), sorted % (2 * half))
                return run * 2 * half + inside % 2 * half + inside / 2
            }
            let old = places.flatMap { weights[$0 * columns..<($0 + 1) * columns] }
            let start = (stage * count + rows.lowerBound / size + block) * size * size
            let new = DenseMatrix.product(
                Array(rotations[start..<start + size * size]), old, rows: size, inner: size, columns: columns)
            for (at, place) in places.enumerated() {
                weights.replaceSubrange(
                    place * columns..<(place + 1) * columns, with: new[at * columns..<(at + 1) * columns])
            }
        }
    }
}
