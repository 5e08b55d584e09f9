import Adapters
import Problems
import Safetensors
import Tensors

/// Measures what a conversion leaves out, against what the adapter does to the same weight.
public struct ConvertLoss {
    /// Something that is left out.
    public struct Item: Sendable {
        /// What it is.
        public let what: String
        /// The module or parameter.
        public let path: String
        /// A tensor of it.
        public let tensor: String?
        /// ‖W' - W''‖ / ‖W' - W‖, with W' what the adapter makes of W, and W'' what is left of that.
        public let relative: Double
    }

    /// A part of an adapter that may be left out.
    enum Part {
        case pair(ModuleFacts), magnitude(ModuleFacts), bias(ModuleFacts)
        case replacement(Replacement), rows(TokenRows), addition(ParameterAddition), change(ModuleChange)

        static func of(_ feature: ConvertFeature, _ facts: ModuleFacts) -> Part {
            switch feature {
            case .dora, .doraEmbedding: .magnitude(facts)
            case .upBias: .bias(facts)
            default: .pair(facts)
            }
        }
    }

    private let plan: ConvertPlan
    private var adapter: Adapter { plan.adapter }

    init(_ plan: ConvertPlan) { self.plan = plan }

    /// A part as a percentage, or all.
    static func words(_ relative: Double) -> String {
        if relative >= 1 { return "all" }
        let percent = (relative * 10000).rounded() / 100
        return percent == 0 ? "less than 0.01 %" : "\(percent) %"
    }

    /// The items, with what each one loses.
    func measure(_ parts: [(problem: Problem, part: Part)]) throws -> [Item] {
        try parts.map { problem, part in
            let (what, path, relative): (String, String, Double) =
                switch part {
                case .pair(let facts): ("the pair of factors", facts.path, 1)
                case .magnitude(let facts): ("the DoRA magnitude", facts.path, try magnitude(facts))
                case .bias(let facts): ("the bias of lora_B", facts.path, 1)
                case .replacement(let entry):
                    ("the replaced parameter", "\(entry.module).\(entry.parameter)", 1)
                case .rows(let rows): ("the trained rows", rows.module, 1)
                case .addition(let entry): ("what is added", "\(entry.module).\(entry.parameter)", 1)
                case .change(let change): (change.method, change.path, 1)
                }
            return Item(what: what, path: path, tensor: problem.tensor, relative: relative)
        }
    }

    /// Without its magnitude, W' = m/n·(W + D) becomes W + D.
    private func magnitude(_ facts: ModuleFacts) throws -> Double {
        let update = plan.updates.first {
            $0.terms.contains { $0.right.tensor == facts.module.down || $0.left.tensor == facts.module.down }
        }
        guard let base = plan.base, let update, let place = update.source.flatMap(base.lookup),
            let term = update.terms.first(where: { $0.magnitude != nil }), let magnitude = term.magnitude
        else {
            throw Problem(
                .incompatible, "needs-base", file: adapter.file.path, tensor: facts.module.magnitude?.name,
                "is a DoRA magnitude, and what is lost without it depends on the base's weights",
                hint: "name the base with --base")
        }
        let factors = try LowRankReader(facts, in: adapter.file).factors(0)
        let isTurned = term.left.tensor == facts.module.down
        let (left, right) = isTurned ? (factors.right, factors.left) : (factors.left, factors.right)
        var rows = WeightRows(
            file: base.shards[place.shard].file, tensor: place.info, rows: term.view.rows, columns: term.view.columns,
            left: left.transposed, right: right, scale: term.scale)
        let m = try TensorValues.doubles(adapter.file.read(magnitude.tensor), magnitude.tensor.dtype)
        var norms = [Double](repeating: 0, count: m.count)
        try rows.forEach { at, _, sum in
            for (column, value) in sum.enumerated() { norms[magnitude.isPerRow ? at : column] += value * value }
        }
        let ratios = zip(m, norms).map { $0 / ($1.squareRoot() + magnitude.epsilon) }
        var (lost, total) = (0.0, 0.0)
        try rows.forEach { at, old, sum in
            for column in sum.indices {
                let new = ratios[magnitude.isPerRow ? at : column] * sum[column]
                lost += (new - sum[column]) * (new - sum[column])
                total += (new - old[column]) * (new - old[column])
            }
        }
        return total > 0 ? (lost / total).squareRoot() : 0
    }
}

/// Rows of W, and of W + D.
private struct WeightRows {
    let file: SafetensorsFile
    let tensor: TensorInfo
    let rows: Int
    let columns: Int
    /// (rows × rank).
    let left: Vectors
    /// (rank × columns).
    let right: Vectors
    let scale: Double

    /// Calls `body` with the number of each row, the row of W, and that of W + D.
    mutating func forEach(_ body: (Int, ArraySlice<Double>, [Double]) throws -> Void) throws {
        let size = columns * tensor.dtype.bits / 8
        for row in 0..<rows {
            let old = try TensorValues.doubles(file.read(tensor, bytes: row * size..<(row + 1) * size), tensor.dtype)
            var sum = old
            for k in 0..<right.count {
                let factor = scale * left[row, k]
                for column in 0..<columns { sum[column] += factor * right[k, column] }
            }
            try body(row, old[...], sum)
        }
    }
}
