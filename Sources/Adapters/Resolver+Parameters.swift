import Problems
import Safetensors
import Tensors

/// Adapters of bare parameters (`target_parameters`), mostly of fused experts.
extension Resolver {
    /// Where one parameter's delta goes: to the fused tensor, or to one tensor for each expert.
    private enum Place {
        case whole(TensorInfo, ModuleFit)
        /// The experts' weights, and the first row of each in the fused parameter.
        case split([(weights: [TensorInfo], firstRow: Int)])
    }

    /// Names of one expert's projections: transformers', then Mixtral's.
    private static let splitNames: [String: [[String]]] = [
        "gate_up_proj": [["gate_proj", "up_proj"], ["w1", "w3"]],
        "down_proj": [["down_proj"], ["w2"]],
        "gate_proj": [["gate_proj"], ["w1"]],
        "up_proj": [["up_proj"], ["w3"]],
    ]

    /// Places all pairs that sit on the module at `path`.
    mutating func placeParameters(_ path: String, _ modules: [AdapterModule]) {
        let parameters = targetedParameters[path] ?? []
        guard parameters.count >= modules.count else {
            for module in modules.dropFirst(parameters.count) {
                error("foreign-tensor", module.down, "has no parameter left in the config's 'target_parameters'")
            }
            return
        }
        let innerFirst = modules.sorted { $0.depth > $1.depth }
        var possible: [[(AdapterModule, String, Place)]] = []
        for choice in Self.orderedChoices(parameters, count: innerFirst.count) {
            let places = zip(innerFirst, choice).map { ($0, $1, place($0, path, $1)) }
            if places.allSatisfy({ $0.2 != nil }) {
                possible.append(places.compactMap { entry in entry.2.map { (entry.0, entry.1, $0) } })
            }
        }
        guard let chosen = possible.first else { return misfit(path, innerFirst, parameters) }
        for (module, parameter, place) in chosen { settle(module, path + "." + parameter, place) }
    }

    /// The parameters of the module at `path` that the config names, in registration order.
    func parameters(of path: String) -> [String] {
        adapter.config.parameters(of: path) {
            // A name without a module is that of a parameter in any module, but a layer's own is its weight.
            if case .absent = names.find(path + ".weight", fits: { _ in true }) { true } else { false }
        }
    }

    /// Selections of `count` parameters: first those in registration order, then the others.
    private static func orderedChoices(_ all: [String], count: Int) -> [[String]] {
        if count == 0 { return [[]] }
        // No module has that many parameters; the choices would grow beyond all bounds.
        if count > 4 || all.count > 8 { return [Array(all.prefix(count))] }
        var result: [[String]] = []
        for (at, name) in all.enumerated() {
            var rest = all
            rest.remove(at: at)
            result += orderedChoices(rest, count: count - 1).map { [name] + $0 }
        }
        let rank = { (names: [String]) in names.compactMap { all.firstIndex(of: $0) } }
        return result.sorted { rank($0).lexicographicallyPrecedes(rank($1)) }
    }

    private func place(_ module: AdapterModule, _ path: String, _ parameter: String) -> Place? {
        let rank = scales.rank(of: path + "." + parameter)
        let answer = names.find(path + "." + parameter) { ModuleFit(module, shape: $0.shape, rank: rank) != nil }
        if case .found(let weight) = answer, let fit = ModuleFit(module, shape: weight.shape, rank: rank) {
            return .whole(weight, fit)
        }
        guard case .absent = answer else { return nil }
        return split(module, path, parameter, rank: rank)
    }

    /// Checkpoints mostly keep one tensor for each expert, though transformers fuses them in memory.
    private func split(_ module: AdapterModule, _ path: String, _ parameter: String, rank: Int) -> Place? {
        let (a, b) = (module.down.shape, module.up.shape)
        guard a.count == 2, b.count == 2, a[0] == b[1], rank > 0, a[0] % rank == 0 else { return nil }
        let count = a[0] / rank
        for owner in [path, path.replacing(".mlp.", with: ".block_sparse_moe.")] {
            for parts in Self.splitNames[parameter] ?? [] {
                var found: [(weights: [TensorInfo], firstRow: Int)] = []
                var row = 0
                for part in parts {
                    var weights: [TensorInfo] = []
                    for expert in 0..<count {
                        let name = "\(owner).\(expert).\(part).weight"
                        guard
                            case .found(let weight) = names.find(
                                name, fits: { $0.shape.count == 2 && $0.shape[1] == a[1] })
                        else { break }
                        weights.append(weight)
                    }
                    guard weights.count == count, let first = weights.first else { break }
                    guard weights.allSatisfy({ $0.shape == first.shape }) else { break }
                    found.append((weights, row))
                    // No overflow: a row has bytes, and the file holds them all.
                    row += first.shape[0]
                }
                if found.count == parts.count, row == b[0] { return .split(found) }
            }
        }
        return nil
    }

    private mutating func settle(_ module: AdapterModule, _ path: String, _ place: Place) {
        let rank = scales.rank(of: path)
        let alpha = scales.alpha(of: path)
        let scale = adapter.config.scale(rank: rank, alpha: alpha)
        switch place {
        case .whole(let weight, var fit):
            note(path, weight.name)
            if case .squareExperts(let count) = fit {
                fit = traits.usesTransposedExperts ? .transposedExperts(count: count) : .experts(count: count)
            }
            if fit == .square { fit = .rowsAreOutputs }
            let isExperts = weight.shape.count == 3
            let (view, left, right) = FactorBuilder.build(
                module, fit: fit, shape: weight.shape, rank: isExperts ? rank : module.down.shape[0])
            add(
                LowRankTerm(
                    module: path, left: left, right: right, rank: isExperts ? rank : module.down.shape[0], alpha: alpha,
                    scale: scale, view: view, magnitude: nil), to: weight, module)
        case .split(let parts):
            let count = parts.first?.weights.count ?? 0
            let (left, right) = FactorBuilder.expertFactors(module, count: count, rank: rank)
            for part in parts {
                for (expert, weight) in part.weights.enumerated() {
                    var (l, r) = (left, right)
                    l.offset = expert * left.batchStride + part.firstRow * left.rowStride
                    r.offset = expert * right.batchStride
                    let view = MatrixView(batches: 1, rows: weight.shape[0], columns: weight.shape[1])
                    add(
                        LowRankTerm(
                            module: path, left: l, right: r, rank: rank, alpha: alpha, scale: scale, view: view,
                            magnitude: nil), to: weight, module)
                }
            }
        }
    }

    private mutating func add(_ term: LowRankTerm, to weight: TensorInfo, _ module: AdapterModule) {
        if let owner = owners[weight.name] {
            return error("ambiguous-module", module.down, "goes to '\(weight.name)', which '\(owner)' changes already")
        }
        owners[weight.name] = term.module
        guard weight.dtype.kernel != nil else {
            return error(
                "quantized-base", module.down, "belongs to '\(weight.name)', which is \(weight.dtype.rawValue)",
                hint: "merge into the original 16-bit model, then quantise the result again")
        }
        update(weight) { $0.terms.append(term) }
    }

    private mutating func misfit(_ path: String, _ modules: [AdapterModule], _ parameters: [String]) {
        for module in modules {
            let shapes = parameters.map { name -> String in
                switch names.find(path + "." + name, fits: { _ in true }) {
                case .found(let weight): "'\(weight.name)' \(weight.shape)"
                default: "'\(path).\(name)', which the base does not have"
                }
            }
            error(
                "shape-mismatch", module.down,
                "shapes \(module.down.shape) of lora_A and \(module.up.shape) of lora_B fit none of "
                    + shapes.joined(separator: ", "),
                hint: "lora_A of experts is [experts·rank, in] and lora_B [out, experts·rank]; check 'r' and the base")
        }
    }
}

extension PEFTConfig {
    /// The order in which modules register these parameters; PEFT nests the first one innermost.
    private static let registrationOrder = ["gate_up_proj", "gate_proj", "up_proj", "down_proj"]

    /// Parameters in the order in which modules register them, by their names.
    package static func inRegistrationOrder(_ parameters: [String], name: (String) -> String) -> [String] {
        let places = parameters.map { registrationOrder.firstIndex(of: name($0)) ?? Int.max }
        return parameters.indices.sorted { (places[$0], $0) < (places[$1], $1) }.map { parameters[$0] }
    }

    /// The parameters of the module at `path` that `target_parameters` names, in registration order.
    ///
    /// - Parameter isBare: whether the module may have parameters of names that the config gives without a module.
    func parameters(of path: String, isBare: () -> Bool) -> [String] {
        if parametersByOwner.isEmpty { return [] }
        var named = TargetMatcher.ends(of: path).flatMap { parametersByOwner[$0] ?? [] }
        if let bare = parametersByOwner[""], isBare() { named += bare }
        var result: [String] = []
        for (_, name) in named.sorted(by: { $0.place < $1.place }) where !result.contains(name) { result.append(name) }
        return Self.inRegistrationOrder(result) { $0 }
    }
}
