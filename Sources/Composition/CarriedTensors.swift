import Adapters
import Problems
import Safetensors
import Tensors

/// A tensor that goes into the result as it is.
struct CarriedTensor: Sendable {
    let name: String
    let input: Int
    let tensor: TensorInfo
}

/// What the adapters replace whole, and what stands against taking it over.
struct CarriedTensors {
    private let inputs: [CombineInput]
    private let modules: [CombineModule]
    /// What goes into the result.
    private(set) var tensors: [CarriedTensor] = []
    /// What was found.
    private(set) var problems: [Problem] = []

    init(_ inputs: [CombineInput], _ modules: [CombineModule]) throws {
        self.inputs = inputs
        self.modules = modules
        try collect()
    }

    /// Replacements, saved modules and rows: of one adapter, or the same in several.
    private mutating func collect() throws {
        var known: [String: CarriedTensor] = [:]
        for (input, entry) in inputs.enumerated() {
            let adapter = entry.adapter
            let own =
                (adapter.replacements + adapter.originals).map(\.tensor) + adapter.tokenRows.map(\.tensor)
            // What an embedding was before training is no change, so a weight does not concern it.
            let trained = Set(
                (adapter.replacements.filter { $0.isBaseLayer && $0.parameter == "weight" } + adapter.originals)
                    .map(\.tensor.name))
            for tensor in own {
                let carried = CarriedTensor(name: carriedName(tensor, of: adapter), input: input, tensor: tensor)
                guard let earlier = known[carried.name] else {
                    known[carried.name] = carried
                    tensors.append(carried)
                    if entry.weight != 1, !trained.contains(tensor.name) { problems.append(weighted(carried)) }
                    continue
                }
                guard try isSame(earlier, carried, isCopy: trained.contains(tensor.name)) else {
                    if adapter.tokenRows.contains(where: { $0.tensor == tensor }) {
                        problems.append(otherRows(carried, earlier))
                        continue
                    }
                    problems.append(
                        Problem(
                            .incompatible, "replaced-twice", file: adapter.file.path, tensor: tensor.name,
                            "replaces a parameter that '\(inputs[earlier.input].path)' replaces by other values; two replacements "
                                + "have no sum",
                            hint: "leave one of the adapters out"))
                    continue
                }
                if entry.weight != 1, !trained.contains(tensor.name) { problems.append(weighted(carried)) }
            }
        }
        problems += adaptedAndReplaced() + rowsAndMore()
    }

    /// A bias belongs to what PEFT wraps, if the result adapts its module, though this adapter may not.
    private func carriedName(_ tensor: TensorInfo, of adapter: Adapter) -> String {
        let bias = adapter.replacements.first { $0.tensor == tensor && $0.parameter == "bias" }
        guard let bias, let at = modules.firstIndex(where: { $0.model.module.path == bias.module }) else {
            return AdapterNames.canonical(tensor.name)
        }
        let depth = modules[at].isParameter ? modules.count { $0.model.module.path == bias.module } : 1
        return AdapterNames.stem(path: bias.module, depth: depth) + ".bias"
    }

    private func weighted(_ carried: CarriedTensor) -> Problem {
        Problem(
            .incompatible, "weighted-replacement", file: inputs[carried.input].adapter.file.path,
            tensor: carried.tensor.name,
            "is a whole parameter, for which a weight of \(Origin.text(inputs[carried.input].weight)) makes no sense",
            hint: "give this adapter the weight 1")
    }

    private func otherRows(_ carried: CarriedTensor, _ earlier: CarriedTensor) -> Problem {
        Problem(
            .incompatible, "replaced-twice", file: inputs[carried.input].adapter.file.path, tensor: carried.tensor.name,
            "replaces rows of an embedding, and '\(inputs[earlier.input].path)' does so with other rows or values; they are not joined "
                + "here",
            hint: "adapter-merge BASE ONE OTHER -o OUT applies rows of both, if they are not the same ones")
    }

    /// - Parameter isCopy: whether it is a copy of the base's, which the adapters may hold in different precision.
    private func isSame(_ a: CarriedTensor, _ b: CarriedTensor, isCopy: Bool) throws -> Bool {
        let (first, second) = (inputs[a.input].adapter, inputs[b.input].adapter)
        guard a.tensor.shape == b.tensor.shape else { return false }
        if let rows = first.tokenRows.first(where: { $0.tensor == a.tensor }) {
            guard second.tokenRows.contains(where: { $0.tensor == b.tensor && $0.rows == rows.rows }) else {
                return false
            }
        }
        if try TensorValues.equal(first.file, a.tensor, second.file, b.tensor) { return true }
        guard isCopy, a.tensor.dtype.kernel != nil, b.tensor.dtype.kernel != nil else { return false }
        if try TensorValues.equal(first.file, a.tensor, second.file, b.tensor, roundingTo: b.tensor.dtype) {
            return true
        }
        return try TensorValues.equal(second.file, b.tensor, first.file, a.tensor, roundingTo: a.tensor.dtype)
    }

    /// PEFT cannot adapt a module that it replaces.
    private func adaptedAndReplaced() -> [Problem] {
        let saved = inputs.flatMap { entry in entry.adapter.replacements.filter { !$0.isBaseLayer }.map { (entry, $0) }
        }
        let adapted = Dictionary(modules.map { ($0.model.module.path, $0) }) { own, _ in own }
        return saved.compactMap { entry, replacement in
            guard replacement.parameter == "weight", let module = adapted[replacement.module],
                module.parts.contains(where: { inputs[$0.input].path != entry.path })
            else { return nil }
            return Problem(
                .incompatible, "replaced-and-adapted", file: entry.adapter.file.path, tensor: replacement.tensor.name,
                "replaces '\(replacement.module)', which another of the adapters changes by a delta; one adapter cannot do both",
                hint: "adapter-merge BASE ONE OTHER -o OUT applies both")
        }
    }

    /// Rows of a layer that another adapter changes in another way: which comes first is not defined.
    private func rowsAndMore() -> [Problem] {
        inputs.flatMap { entry in entry.adapter.tokenRows.map { (entry, $0) } }.compactMap { entry, rows in
            let other = inputs.first { other in
                guard other.path != entry.path else { return false }
                return other.facts.modules.contains { $0.module.path == rows.module }
                    || other.adapter.replacements.contains {
                        $0.module == rows.module && $0.parameter == "weight" && !$0.isBaseLayer
                    }
            }
            let apart = inputs.first {
                $0.path != entry.path && $0.adapter.tokenRows.contains { $0.module != rows.module }
            }
            if other == nil, let apart {
                return Problem(
                    .incompatible, "rows-apart", file: entry.adapter.file.path, tensor: rows.tensor.name,
                    "replaces rows of '\(rows.module)', and '\(apart.path)' those of another layer; where a model ties the two, one "
                        + "adapter with both means something else than two",
                    hint: "leave one of the adapters out, or merge both at once: adapter-merge BASE ONE OTHER -o OUT")
            }
            guard let other else { return nil }
            return Problem(
                .incompatible, "rows-and-delta", file: entry.adapter.file.path, tensor: rows.tensor.name,
                "replaces rows of '\(rows.module)', which '\(other.path)' changes as a whole; that has no defined order",
                hint: "leave one of the adapters out, or merge one after the other")
        }
    }
}
