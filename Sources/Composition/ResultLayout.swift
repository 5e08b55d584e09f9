import Adapters
import Files
import Problems
import Safetensors
import Tensors

/// Where each tensor of the result lies in its file.
struct ResultLayout: Sendable {
    let header: Header
    private let plan: CombinePlan
    private let result: ResultRanks
    private let places: [String: TensorInfo]

    init(_ plan: CombinePlan, _ result: ResultRanks, metadata: [(key: String, value: String)]) throws {
        self.plan = plan
        self.result = result
        var list: [(name: String, dtype: DType, shape: [Int])] = []
        for (module, rank) in zip(plan.modules, result.ranks) {
            let facts = module.model
            let ranks = rank * module.batches
            list.append(
                (
                    AdapterNames.down(facts.module, depth: module.depth), result.dtype,
                    [ranks] + facts.module.down.shape.dropFirst()
                ))
            let up = facts.module.up.shape
            list.append(
                (AdapterNames.up(facts.module, depth: module.depth), result.dtype, [up[0], ranks] + up.dropFirst(2)))
            if module.hasBias { list.append((AdapterNames.upBias(facts.module), result.dtype, [up[0]])) }
        }
        for tensor in plan.carried { list.append((tensor.name, tensor.tensor.dtype, tensor.tensor.shape)) }
        header = try Header.layout(list, metadata: metadata, order: .reference)
        places = Dictionary(header.tensors.map { ($0.name, $0) }) { own, _ in own }
    }

    private func put(_ values: [Double], _ name: String, _ file: OutputFile) throws {
        guard let place = places[name] else {
            throw Problem(.internalFault, "no-place", tensor: name, "has no place in the result")
        }
        let bytes = try TensorValues.rounded(values, to: place.dtype)
        precondition(bytes.count == place.byteCount, "a tensor has another size than its place")
        try file.write(bytes, at: header.dataStart + place.begin)
    }

    /// Writes the factors of a module, padded with zeros to its rank.
    ///
    /// A holds one expert after the other, B one rank after the other (PEFT `tuners/lora/layer.py`, ParamWrapper).
    func write(_ matrices: [ModuleJob.Matrix], of at: Int, to file: OutputFile) throws {
        let (module, rank) = (plan.modules[at], result.ranks[at])
        var down: [Double] = []
        down.reserveCapacity(matrices.count * rank * module.columns)
        for matrix in matrices {
            down += matrix.stored.right.values
            down += [Double](repeating: 0, count: (rank - matrix.stored.rank) * module.columns)
        }
        try put(down, AdapterNames.down(module.model.module, depth: module.depth), file)
        let width = rank * matrices.count
        var up = [Double](repeating: 0, count: module.rows * width)
        for (batch, matrix) in matrices.enumerated() {
            for k in 0..<matrix.stored.rank {
                let column = k * matrices.count + batch
                let from = k * module.rows
                for row in 0..<module.rows { up[row * width + column] = matrix.stored.left.values[from + row] }
            }
        }
        try put(up, AdapterNames.up(module.model.module, depth: module.depth), file)
        if module.hasBias { try put(bias(module), AdapterNames.upBias(module.model.module), file) }
    }

    /// Σ w_i·s_i·b_i, over what the result's scale multiplies it by.
    private func bias(_ module: CombineModule) throws -> [Double] {
        var sum = [Double](repeating: 0, count: module.rows)
        for part in module.parts {
            guard let tensor = part.facts.module.upBias else { continue }
            let values = try TensorValues.doubles(plan.inputs[part.input].adapter.file.read(tensor), tensor.dtype)
            for at in sum.indices { sum[at] += part.weight * part.scale * values[at] }
        }
        return sum.map { $0 / result.scale }
    }

    /// Copies the tensors that the result takes over as they are.
    func writeCarried(to file: OutputFile) throws {
        for carried in plan.carried {
            guard let place = places[carried.name] else { continue }
            let source = plan.inputs[carried.input].adapter.file
            for start in stride(from: 0, to: carried.tensor.byteCount, by: 1 << 20) {
                try checkInterrupted()
                let range = start..<min(carried.tensor.byteCount, start + (1 << 20))
                try file.write(source.read(carried.tensor, bytes: range), at: header.dataStart + place.begin + start)
            }
        }
    }
}
