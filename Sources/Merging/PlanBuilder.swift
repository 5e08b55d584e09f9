import Adapters
import Problems
import Safetensors

/// Brings the changes of all adapters together, tensor by tensor, and refuses what has no defined sum.
package struct PlanBuilder {
    let base: Checkpoint
    let inputs: [MergeInput]
    let options: MergeOptions
    /// What stands against the sum.
    package private(set) var problems: [Problem] = []
    private var updates: [String: [WeightedUpdate]] = [:]
    private let traits: BaseTraits

    package init(base: Checkpoint, inputs: [MergeInput], options: MergeOptions) {
        self.base = base
        self.inputs = inputs
        self.options = options
        traits = inputs.first?.resolution.traits ?? BaseTraits(base)
        for (at, input) in inputs.enumerated() where input.weight != 0 {
            for update in input.resolution.updates {
                updates[update.name, default: []].append(
                    WeightedUpdate(input: at, weight: input.weight, update: update))
            }
        }
    }

    /// All tensors of the output: the base's in its order, then new ones by name.
    mutating func tensors() -> [PlannedTensor] {
        shareHeads()
        let dropped = options.dtype == nil ? [] : scaleNames
        var result: [PlannedTensor] = []
        for entry in base.tensors where !dropped.contains(entry.info.name) {
            let changes = updates.removeValue(forKey: entry.info.name) ?? []
            if let tensor = plan(entry.info.name, source: .base(shard: entry.shard, entry.info), changes) {
                result.append(tensor)
            }
        }
        for (name, changes) in updates.sorted(by: { $0.key < $1.key }) {
            if let tensor = planNew(name, changes) { result.append(tensor) }
        }
        return result
    }

    /// Only what the adapters change or bring, by name.
    package mutating func changedTensors() -> [PlannedTensor] {
        shareHeads()
        return updates.sorted { $0.key < $1.key }.compactMap { name, changes in
            guard let place = base.lookup(name) else { return planNew(name, changes) }
            return plan(name, source: .base(shard: place.shard, place.info), changes)
        }
    }

    /// A tensor of the base that no adapter changes, with its scales if it is to have another type.
    package mutating func unchanged(_ place: Checkpoint.Place) -> PlannedTensor? {
        plan(place.info.name, source: .base(shard: place.shard, place.info), [])
    }

    /// Where one adapter parts the head from the embedding (or a bias from another), what the others do to the shared tensor
    /// holds for both.
    private mutating func shareHeads() {
        for name in updates.keys where base.lookup(name) == nil {
            guard let source = updates[name]?.first?.update.source, source != name else { continue }
            let present = Set((updates[name] ?? []).map(\.input))
            for change in updates[source] ?? [] where !present.contains(change.input) { updates[name]?.append(change) }
            updates[name]?.sort { $0.input < $1.input }
        }
    }

    private mutating func planNew(_ name: String, _ changes: [WeightedUpdate]) -> PlannedTensor? {
        if let source = changes.first?.update.source, let place = base.lookup(source) {
            return plan(name, source: .base(shard: place.shard, place.info), changes)
        }
        guard let first = changes.first, let tensor = first.update.replacement else { return nil }
        return plan(name, source: .adapter(input: first.input, tensor), changes)
    }

    private mutating func plan(_ name: String, source: TensorSource, _ changes: [WeightedUpdate]) -> PlannedTensor? {
        let replacing = changes.filter { $0.update.replacement != nil }
        var start = source
        if let first = replacing.first, let tensor = first.update.replacement {
            guard replacing.count == 1 else {
                return refuse(
                    "replaced-twice", first, tensor,
                    "replaces '\(name)', and so does another adapter; two replacements have no sum",
                    hint: "merge only one of these adapters")
            }
            guard first.weight == 1 || first.update.replacesBase else {
                return refuse(
                    "weighted-replacement", first, tensor,
                    "replaces '\(name)' whole, which a weight of \(first.weight) does not make sense for",
                    hint: "give this adapter the weight 1")
            }
            start = .adapter(input: first.input, tensor)
        }
        let own = outputType(source.info, isNew: base.lookup(name) == nil)
        let shape = replacing.first?.update.shape ?? source.info.shape
        var tensor = PlannedTensor(name: name, dtype: own, shape: shape, source: start)
        for change in changes { collect(change, into: &tensor) }
        if let first = replacing.first, let whole = first.update.replacement, !first.update.replacesBase,
            tensor.rows.contains(where: { $0.input != first.input })
        {
            return refuse(
                "rows-and-replacement", first, whole,
                "replaces '\(name)' whole, and another adapter replaces rows of it; that has no defined order",
                hint: "merge one adapter first, then the other")
        }
        checkDoRA(tensor)
        checkRows(tensor)
        addScales(&tensor)
        return tensor
    }

    private mutating func collect(_ change: WeightedUpdate, into tensor: inout PlannedTensor) {
        for term in change.update.terms {
            if let view = tensor.terms.first?.term.view, view != term.view {
                _ = refuse(
                    "different-views", change, term.right.tensor,
                    "adapts '\(tensor.name)' in another shape than the others")
                continue
            }
            // Another adapter may have changed the number of rows.
            guard term.view.batches * term.view.rows * term.view.columns == tensor.shape.reduce(1, *) else {
                _ = refuse(
                    "different-views", change, term.right.tensor,
                    "adapts '\(tensor.name)' \(change.update.shape), which another adapter makes \(tensor.shape)",
                    hint: "merge only one of these adapters")
                continue
            }
            tensor.terms.append((change.input, change.weight, term))
        }
        if let addition = change.update.addition {
            tensor.additions.append((change.input, addition.tensor, addition.scale * change.weight))
        }
        for entry in change.update.changes { collect(entry, change, into: &tensor) }
        guard let rows = change.update.tokenRows else { return }
        if change.weight != 1 {
            _ = refuse(
                "weighted-replacement", change, rows.tensor,
                "replaces rows of '\(tensor.name)', which a weight of \(change.weight) does not make sense for",
                hint: "give this adapter the weight 1")
        }
        tensor.rows.append((change.input, rows))
    }

    private mutating func collect(
        _ entry: ModuleChange, _ change: WeightedUpdate, into tensor: inout PlannedTensor
    ) {
        if case .action = entry.effect, let first = entry.tensors.first {
            if tensor.action != nil {
                _ = refuse(
                    "several-actions", change, first,
                    "is \(entry.method) for '\(tensor.name)', which another adapter transforms, too; the two have no sum",
                    hint: "merge one adapter first, then the other")
            }
            if change.weight != 1 {
                _ = refuse(
                    "weighted-action", change, first,
                    "is \(entry.method), which a weight of \(change.weight) is not defined for",
                    hint: "give this adapter the weight 1")
            }
            if source(of: tensor).dtype.bits == 8 {
                _ = refuse(
                    "quantized-base", change, first,
                    "is \(entry.method) for '\(tensor.name)', which is stored in 8 bits",
                    hint: "merge into the original 16-bit model")
            }
        }
        tensor.changes.append((change.input, change.weight, entry))
    }

    /// DoRA's magnitude belongs to W + D of its own adapter: it takes part unweighted, and only one can.
    private mutating func checkDoRA(_ tensor: PlannedTensor) {
        let dora = tensor.terms.filter { $0.term.magnitude != nil }
        guard let first = dora.first, let magnitude = first.term.magnitude else { return }
        let change = WeightedUpdate(
            input: first.input, weight: first.weight,
            update: inputs[first.input].resolution.updates.first { $0.name == tensor.name }
                ?? inputs[first.input].resolution.updates[0])
        if !tensor.changes.isEmpty || !tensor.additions.isEmpty {
            _ = refuse(
                "several-dora", change, magnitude.tensor,
                "is DoRA for '\(tensor.name)', which also gets a change that is no product of two factors",
                hint: "merge one adapter first, then the other")
        }
        if dora.count > 1 {
            _ = refuse(
                "several-dora", change, magnitude.tensor,
                "is DoRA for '\(tensor.name)', and so is another adapter; two magnitudes have no sum",
                hint: "merge only one of these adapters")
        }
        if first.weight != 1 {
            _ = refuse(
                "weighted-dora", change, magnitude.tensor,
                "is DoRA, which a weight of \(first.weight) is not defined for", hint: "give this adapter the weight 1")
        }
        if tensor.scales != nil || source(of: tensor).dtype.bits == 8 {
            _ = refuse(
                "quantized-base", change, magnitude.tensor, "is DoRA for '\(tensor.name)', which is stored in 8 bits",
                hint: "merge into the original 16-bit model")
        }
    }

    private func source(of tensor: PlannedTensor) -> TensorInfo { tensor.source.info }

    private mutating func checkRows(_ tensor: PlannedTensor) {
        var seen: Set<Int> = []
        for entry in tensor.rows {
            let change = WeightedUpdate(
                input: entry.input, weight: 1, update: inputs[entry.input].resolution.updates[0])
            if entry.rows.rows.contains(where: { !seen.insert($0).inserted }) {
                _ = refuse(
                    "replaced-twice", change, entry.rows.tensor,
                    "replaces rows of '\(tensor.name)' that another adapter replaces too",
                    hint: "merge only one of them")
            }
            // Within one adapter PEFT adds the delta to the new rows.
            let others = tensor.terms.map(\.input) + tensor.additions.map(\.input) + tensor.changes.map(\.input)
            if others.contains(where: { $0 != entry.input }) {
                _ = refuse(
                    "rows-and-delta", change, entry.rows.tensor,
                    "replaces rows of '\(tensor.name)', which also gets a low-rank delta; that has no defined order",
                    hint: "merge one adapter first, then the other")
            }
        }
    }

    /// The type of a tensor in the output: the base's own, or the one that was asked for.
    private func outputType(_ info: TensorInfo, isNew: Bool) -> DType {
        if let wanted = options.dtype, info.dtype.kernel != nil { return wanted }
        return isNew && info.dtype.kernel != nil ? options.dtype ?? usualType : info.dtype
    }

    /// The type that most of the base's values have.
    private var usualType: DType {
        var sizes: [DType: Int] = [:]
        for entry in base.tensors where entry.info.dtype.isFloat {
            sizes[entry.info.dtype, default: 0] += entry.info.byteCount
        }
        return sizes.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key ?? .f32
    }

    /// Names of the tensors that say how 8-bit weights are scaled: with the weights in another type, they say nothing.
    private var scaleNames: Set<String> {
        var result: Set<String> = []
        for entry in base.tensors where entry.info.dtype.kernel != nil && entry.info.dtype.bits == 8 {
            for name in StoredScales.companions(of: entry.info.name) where base.lookup(name) != nil {
                result.insert(name)
            }
        }
        return result
    }

    /// Finds the scales of an FP8 weight: `weight_scale_inv` by blocks (DeepSeek), or `weight_scale` for all or each row.
    private mutating func addScales(_ tensor: inout PlannedTensor) {
        guard case .base(_, let info) = tensor.source, info.dtype.isFloat, info.dtype.bits == 8 else { return }
        guard !tensor.terms.isEmpty || !tensor.changes.isEmpty || tensor.dtype != info.dtype else { return }
        let view = tensor.view
        for name in StoredScales.names(of: info.name) {
            guard let place = base.lookup(name) else { continue }
            let suffix = name.dropFirst(info.name.count)
            let shape = place.info.shape
            let block: (Int, Int)?
            if shape.reduce(1, *) == 1 {
                block = (view.rows, view.columns)
            } else if shape == [view.rows] || shape == [view.rows, 1] {
                block = (1, view.columns)
            } else {
                block = traits.scaleBlock ?? (suffix == "_scale_inv" ? (128, 128) : nil)
            }
            if let (rows, columns) = block, view.batches == 1, place.info.dtype.kernel != nil,
                shape.reduce(1, *) == Self.pieces(view.rows, rows) * Self.pieces(view.columns, columns)
            {
                tensor.scales = ScaleTable(
                    tensor: place.info, shard: place.shard, blockRows: rows, blockColumns: columns)
                return
            }
            problems.append(
                Problem(
                    .incompatible, "quantized-base", file: base.path, tensor: place.info.name,
                    "shape \(shape) is no table of scales for '\(info.name)' \(info.shape) that is understood here",
                    hint: "merge into the original 16-bit model, then quantise the result again"))
            return
        }
        if let strange = StoredScales.strangers(base, beside: info.name).first {
            problems.append(
                Problem(
                    .incompatible, "quantized-base", file: base.path, tensor: info.name,
                    "is \(info.dtype.rawValue), and '\(strange)' beside it seems to scale it, in a way that is not known here",
                    hint: "merge into the original 16-bit model, then quantise the result again"))
            return
        }
        guard traits.quantization != nil else { return }
        problems.append(
            Problem(
                .incompatible, "quantized-base", file: base.path, tensor: info.name,
                "is \(info.dtype.rawValue) in a quantised checkpoint, but its scales are not in it",
                hint: "merge into the original 16-bit model, then quantise the result again"))
    }

    private static func pieces(_ total: Int, _ size: Int) -> Int { (total + size - 1) / size }

    private mutating func refuse(
        _ code: String, _ change: WeightedUpdate, _ tensor: TensorInfo, _ message: String, hint: String? = nil
    ) -> PlannedTensor? {
        problems.append(
            Problem(
                .incompatible, code, file: inputs[change.input].adapter.file.path, tensor: tensor.name, message,
                hint: hint))
        return nil
    }
}
