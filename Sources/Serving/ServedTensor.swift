import Adapters
import Merging
import Problems
import Safetensors
import Tensors

/// One tensor of the model under the adapters of a snapshot: what the plan of a merge says of it, with everything at hand.
struct ServedTensor: Sendable {
    let planned: PlannedTensor
    /// The adapters, by the plan's numbers of inputs.
    let adapters: [HeldAdapter]
    let weights: WeightStore

    var name: String { planned.name }
    var shape: [Int] { planned.shape }

    /// The bytes that it starts from.
    private func source() throws(Problem) -> [UInt8] {
        switch planned.source {
        case .base(let shard, let info): return try weights.bytes(shard: shard, info)
        case .adapter(let input, let info):
            if let bytes = adapters[input].bytes(of: info) { return bytes }
            return try adapters[input].adapter.file.read(info)
        }
    }

    /// All values of a tensor that is no matrix.
    func vector() throws(Problem) -> [Double] {
        guard planned.terms.isEmpty, planned.rows.isEmpty, planned.scales == nil else {
            return try matrix(MatrixView(batches: 1, rows: shape[0], columns: shape.dropFirst().reduce(1, *)), batch: 0)
                .values(Array(0..<shape[0]))
        }
        var values = try named { () throws(Problem) in
            try TensorValues.doubles(source(), planned.source.info.dtype)
        }
        for addition in planned.additions {
            let more = try adapters[addition.input].values(of: addition.tensor)
            for at in values.indices { values[at] += addition.scale * more[at] }
        }
        return values
    }

    /// The view in which it is a matrix, or one for each expert.
    func view(experts: Bool) throws(Problem) -> MatrixView {
        let view: MatrixView
        if experts {
            guard shape.count == 3 else { throw noMatrix("experts are stored as three dimensions") }
            view = MatrixView(batches: shape[0], rows: shape[1], columns: shape[2])
        } else {
            guard shape.count >= 2 else { throw noMatrix("a matrix was needed") }
            view = MatrixView(batches: 1, rows: shape[0], columns: shape.dropFirst().reduce(1, *))
        }
        guard !shape.contains(0) else { throw noMatrix("it holds nothing") }
        if let term = planned.terms.first?.term, term.view != view {
            throw noMatrix(
                term.view.batches > 1
                    ? "an adapter has a delta for each of its \(term.view.batches) experts: name one"
                    : "an adapter has one delta for all of it: name no expert")
        }
        return view
    }

    /// The view of all its matrices.
    func view() throws(Problem) -> MatrixView {
        if let term = planned.terms.first?.term { return term.view }
        return try view(experts: false)
    }

    private func noMatrix(_ why: String) -> Problem {
        Problem(.usage, "no-matrix", tensor: name, "has shape \(shape), and \(why)")
    }

    /// One matrix of the tensor under all adapters.
    func matrix(_ view: MatrixView, batch: Int, threads: Int = 1) throws(Problem) -> ServedMatrix {
        guard (0..<view.batches).contains(batch) else {
            throw Problem(.usage, "no-expert", tensor: name, "has \(view.batches) experts, and no number \(batch)")
        }
        let info = planned.source.info
        let (bytes, first) = (try source(), batch * view.rows * view.columns)
        let held = try named { () throws(Problem) in
            try HeldMatrix(bytes, info.dtype, offset: first, rows: view.rows, columns: view.columns)
        }
        let weight = ServedWeight(matrix: held, scales: try scales(), replaced: try replacedRows())
        var terms: [ServedTerm] = []
        for entry in planned.terms {
            guard let factors = adapters[entry.input].factors(of: entry.term) else {
                throw Problem(.internalFault, "not-held", tensor: name, "has a delta whose factors were not read")
            }
            terms.append(
                ServedTerm(
                    left: factors.left[batch], right: factors.right[batch], factor: entry.weight * entry.term.scale,
                    isDoRA: entry.term.magnitude != nil))
        }
        var result = ServedMatrix(weight: weight, terms: terms, threads: threads)
        try addMagnitude(to: &result)
        return result
    }

    private func scales() throws(Problem) -> BlockScales? {
        guard let table = planned.scales else { return nil }
        let bytes = try weights.bytes(shard: table.shard, table.tensor)
        return BlockScales(
            values: try TensorValues.doubles(bytes, table.tensor.dtype), rows: table.blockRows,
            columns: table.blockColumns)
    }

    private func replacedRows() throws(Problem) -> [Int: (tokens: HeldMatrix, at: Int)] {
        var result: [Int: (tokens: HeldMatrix, at: Int)] = [:]
        for entry in planned.rows {
            let info = entry.rows.tensor
            guard let bytes = adapters[entry.input].bytes(of: info), info.shape.count == 2 else { continue }
            let tokens = try HeldMatrix(bytes, info.dtype, rows: info.shape[0], columns: info.shape[1])
            for (at, row) in entry.rows.rows.enumerated() { result[row] = (tokens, at) }
        }
        return result
    }

    /// m / ‖W + D‖ over the rows or columns (PEFT `tuners/lora/dora.py`), computed once for each adapter.
    private func addMagnitude(to matrix: inout ServedMatrix) throws(Problem) {
        guard let entry = planned.terms.first(where: { $0.term.magnitude != nil }),
            let magnitude = entry.term.magnitude
        else { return }
        let owner = adapters[entry.input]
        let key = "\(name)\n\(sourceKey)"
        let plain = matrix
        let factors = try owner.factors.value(key) { () throws(Problem) in
            let m = try owner.values(of: magnitude.tensor)
            let squares = magnitude.isPerRow ? plain.rowSquares() : plain.columnSquares()
            return zip(m, squares).map { $0 / ($1.squareRoot() + magnitude.epsilon) }
        }
        if magnitude.isPerRow { matrix.rowFactors = factors } else { matrix.columnFactors = factors }
    }

    /// What W is before any delta: the norm depends on nothing else but the adapter.
    private var sourceKey: String {
        var key =
            switch planned.source {
            case .base(_, let info): "base \(info.name)"
            case .adapter(let input, let info): "\(ObjectIdentifier(adapters[input])) \(info.name)"
            }
        for entry in planned.rows { key += "\n\(ObjectIdentifier(adapters[entry.input])) \(entry.rows.tensor.name)" }
        return key
    }

    /// The same with errors that name the tensor.
    private func named<R>(_ body: () throws(Problem) -> R) throws(Problem) -> R {
        do throws(Problem) {
            return try body()
        } catch {
            var copy = error
            copy.tensor = copy.tensor ?? name
            throw copy
        }
    }
}
