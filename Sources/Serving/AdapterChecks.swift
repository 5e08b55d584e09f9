import Adapters
import Merging
import Problems
import Safetensors
import Tensors

/// What must hold before an adapter takes part: the checks of a merge, in its order.
enum AdapterChecks {
    /// Reads an adapter and holds it against the base alone.
    ///
    /// - Returns: the adapter in memory, and what its user should know.
    static func hold(
        _ given: Adapter, _ base: ServedBase, allowed: Set<String>
    ) throws(ProblemList) -> (held: HeldAdapter, notes: [Problem]) {
        let adapter: Adapter
        do throws(Problem) {
            adapter = try given.localized(for: base.checkpoint)
        } catch {
            throw ProblemList([error])
        }
        let resolution = Resolution(adapter: adapter, base: base.checkpoint)
        var inputs = LoadedInputs(
            base: base.checkpoint, resolved: [(adapter, 1, resolution)], allowed: allowed)
        var found: [Problem] = []
        let known = inputs.entries[0].problems.count
        try gather(&found, inputs.entries[0].problems + unserved(adapter, resolution))
        let held: HeldAdapter
        do throws(Problem) {
            try BaseBinding.check(&inputs, allowed: allowed, threads: base.threads) { _ in }
            var more = Array(inputs.entries[0].problems.dropFirst(known))
            if let problem = try inputs.untrained() { more.append(untrained(problem).lowered(ifIn: allowed)) }
            held = try HeldAdapter(adapter, resolution, allowed: allowed)
            more += held.problems.map { $0.lowered(ifIn: allowed) }
            found += more.map(reworded)
        } catch {
            throw ProblemList(found + [error])
        }
        if ProblemList(found).hasErrors { throw ProblemList(found) }
        return (held, found)
    }

    /// The tensors that the sum of adapters changes, ready to compute with; those of weight 0 take no part.
    static func sum(_ list: [(held: HeldAdapter, weight: Double)], _ base: ServedBase) throws(ProblemList)
        -> [ServedTensor]
    {
        let allowed = list.reduce(into: Set<String>()) { $0.formUnion($1.held.allowed) }
        let inputs = LoadedInputs(
            base: base.checkpoint, resolved: list.map { ($0.held.adapter, $0.weight, $0.held.resolution) },
            allowed: allowed)
        guard inputs.isSound else { throw ProblemList(inputs.problems.map(reworded)) }
        let terms = inputs.entries.compactMap { entry -> MergeInput? in
            guard let adapter = entry.adapter, let resolution = entry.resolution else { return nil }
            return MergeInput(adapter: adapter, weight: entry.operand.weight, resolution: resolution)
        }
        var builder = PlanBuilder(base: base.checkpoint, inputs: terms, options: ServedBase.options)
        let planned = builder.changedTensors()
        guard builder.problems.isEmpty else { throw ProblemList(builder.problems.map(reworded)) }
        let adapters = list.map(\.held)
        return planned.map { ServedTensor(planned: $0, adapters: adapters, weights: base.weights) }
    }

    private static func gather(_ found: inout [Problem], _ more: [Problem]) throws(ProblemList) {
        found += more.map(reworded)
        if ProblemList(found).hasErrors { throw ProblemList(found) }
    }

    /// Parameters that a merge would copy, and that no computation here can use.
    private static func unserved(_ adapter: Adapter, _ resolution: Resolution) -> [Problem] {
        resolution.updates.compactMap { update in
            if let problem = unserved(update, adapter) { return problem }
            guard let tensor = update.replacement, tensor.dtype.kernel == nil else { return nil }
            return Problem(
                .incompatible, "bad-dtype", file: adapter.file.path, tensor: tensor.name,
                "replaces '\(update.name)' by \(tensor.dtype.rawValue), but only floating-point numbers can be served",
                hint: "merge the adapter instead")
        }
    }

    /// What is no product of two small factors would need a weight of full size for each adapter.
    private static func unserved(_ update: TensorUpdate, _ adapter: Adapter) -> Problem? {
        let (what, tensor): (String, TensorInfo?)
        if let change = update.changes.first {
            (what, tensor) = ("is \(change.method)", change.tensors.first)
        } else if let addition = update.addition, update.shape.count > 1 {
            (what, tensor) = ("is a difference of full size", addition.tensor)
        } else {
            return nil
        }
        return Problem(
            .incompatible, "not-lora", file: adapter.file.path, tensor: tensor?.name,
            "\(what) for '\(update.name)', which is no product B·A that could be attached",
            hint: "merge it into the base with adapter-merge, or make a LoRA of it first")
    }

    private static func untrained(_ problem: Problem) -> Problem {
        var copy = problem
        copy.message = "holds nothing but deltas that are zero: the model would answer as the base does"
        copy.hint =
            "an untrained adapter looks like this, and so does one with an alpha of 0; allow zero-delta to attach it"
        return copy
    }

    /// Next steps of a merge, in the words of this library.
    private static let hints: [String: String?] = [
        "merge only one of these adapters": "attach only one of these adapters",
        "merge only one of them": "attach only one of them",
        "merge one adapter first, then the other": "merge one of them into the base, and attach the other to that",
        "merge into the original 16-bit model": "attach it to the original 16-bit model",
        "merge into the original 16-bit model, then quantise the result again":
            "attach it to the original 16-bit model",
        "serve it as an adapter": nil,
        "merge it with PEFT, or serve it as an adapter": nil,
        OtherMethods.hint:
            "LoRA, AdaLoRA, LN tuning and trainable tokens can be attached",
        "a bias cannot be added to this architecture: train with lora_bias=False":
            "only a bias that the base has can be changed while it runs: train with lora_bias=False",
        "build the repeated base first, then merge with this field removed":
            "build the repeated base first, then attach with this field removed",
    ]
    /// Parts of messages that speak of a merge.
    private static let words = [
        (", so there is nothing to merge", ""), (", so there is nothing fixed to merge", ""),
        ("so the merged model gets it", "so the model gets it"), ("no merge is defined", "no sum is defined"),
    ]

    private static func reworded(_ problem: Problem) -> Problem {
        var copy = problem
        for (old, new) in words { copy.message = copy.message.replacing(old, with: new) }
        guard let hint = problem.hint else { return copy }
        // Two optionals: what has no place here has no hint.
        copy.hint = hints[hint] ?? hint.replacing("--allow ", with: "allowing ")
        return copy
    }
}
