import Problems
import Safetensors

extension Resolver {
    /// Finds the place of a change that is no product of two factors.
    mutating func place(_ change: ModuleChange) {
        guard let tensor = change.tensors.first else { return }
        let name = change.path + "." + change.parameter
        if sharedHead != nil, traits.hasVocabulary(change.path) {
            return error(
                "shared-embedding", tensor,
                "is \(change.method) for '\(change.path)', a matrix that embedding and head share",
                hint: "for that, only LoRA and replacements are defined here: merge it with the library that trained it"
            )
        }
        let orientation = orientation(of: change.path)
        switch names.find(name, fits: { change.fitted(to: $0.shape, orientation) != nil }) {
        case .found(let weight):
            note(name, weight.name)
            guard let change = change.fitted(to: weight.shape, orientation) else { return }
            guard weight.dtype.kernel != nil else {
                return error(
                    "quantized-base", tensor, "belongs to '\(weight.name)', which is \(weight.dtype.rawValue)",
                    hint: "merge into the original 16-bit model, then quantise the result again")
            }
            if let owner = owners[weight.name] {
                return error(
                    "ambiguous-module", tensor, "goes to '\(weight.name)', which '\(owner)' changes already",
                    hint: "rename the adapter's tensors to the base's names")
            }
            owners[weight.name] = change.path
            update(weight) { $0.changes.append(change) }
        case .wrongShape(let candidates):
            if candidates.count > 1 { return ambiguous(tensor, candidates) }
            error(
                "shape-mismatch", tensor,
                "shape \(tensor.shape) of \(change.method) does not fit the base weight '\(candidates[0].name)' "
                    + "\(candidates[0].shape)", hint: "the adapter was trained on a different base")
        case .ambiguous(let candidates): ambiguous(tensor, candidates)
        case .absent: if !change.isOptional { absent(tensor, name) }
        }
    }

    /// Which way the weight of a linear layer lies, as far as the architecture says it.
    private func orientation(of path: String) -> ModuleChange.Orientation {
        guard traits.mayUseConv1D else { return .plain }
        if traits.usesConv1D { return traits.isStoredTransposed(path, isExperts: false) ? .transposed : .plain }
        return .open(squaresAreTransposed: adapter.config.fanInFanOut)
    }

    /// Finds the parameter that something of its size is added to.
    mutating func place(_ addition: ParameterAddition) {
        let tensor = addition.tensor
        let name = addition.module + "." + addition.parameter
        switch names.find(name, fits: { Self.isAlike($0.shape, tensor.shape) }) {
        case .found(let weight):
            note(name, weight.name)
            guard weight.dtype.kernel != nil, tensor.dtype.kernel != nil else {
                return error(
                    "bad-dtype", tensor,
                    "is \(tensor.dtype.rawValue) for '\(weight.name)', which is \(weight.dtype.rawValue)")
            }
            update(weight) { $0.addition = (tensor, addition.scale) }
        case .wrongShape(let candidates):
            if candidates.count > 1 { return ambiguous(tensor, candidates) }
            error(
                "shape-mismatch", tensor,
                "shape \(tensor.shape) cannot be added to '\(candidates[0].name)' \(candidates[0].shape)",
                hint: "the adapter was trained on a different base")
        case .ambiguous(let candidates): ambiguous(tensor, candidates)
        case .absent:
            if addition.parameter == "bias" {
                return error(
                    "no-bias", tensor, "adds to a bias, but the base has no '\(name)'",
                    hint: "the adapter was trained on a different base")
            }
            absent(tensor, name)
        }
    }

    /// Whether two shapes are the same but for trailing ones, as linear layers and 1×1 convolutions are.
    private static func isAlike(_ a: [Int], _ b: [Int]) -> Bool {
        let trimmed = { (shape: [Int]) in Array(shape.prefix(2)) + shape.dropFirst(2).filter { $0 != 1 } }
        return a == b || (a.reduce(1, *) == b.reduce(1, *) && trimmed(a) == trimmed(b))
    }

    /// A module that the base keeps in parts, or as some rows of another.
    mutating func placeParts(_ module: AdapterModule) {
        let places = names.places(of: module.path)
        guard !places.isEmpty, module.up.shape.count >= 2, module.down.shape.count >= 2 else {
            return placeAbsent(module)
        }
        let counts = places.map { $0.rows?.count ?? $0.weight.shape.first ?? 0 }
        let inputs = module.down.shape.dropFirst().reduce(1, *)
        let isFit = places.allSatisfy { $0.weight.shape.dropFirst().reduce(1, *) == inputs }
        guard isFit, counts.reduce(0, +) == module.up.shape[0], module.up.shape[1] == module.down.shape[0] else {
            let list = places.map { "'\($0.weight.name)' \($0.weight.shape)" }.joined(separator: ", ")
            return error(
                "shape-mismatch", module.up,
                "shapes \(module.down.shape) and \(module.up.shape) do not fit \(list) together",
                hint: "the adapter was trained on a different base")
        }
        guard module.magnitude == nil || places.count == 1 && places[0].rows == nil else {
            return error(
                "split-dora", module.up,
                "is DoRA for a module that the base keeps in \(places.count) parts, or as part of another",
                hint: "use a base in the layout that the adapter was trained on")
        }
        var row = 0
        for (place, count) in zip(places, counts) {
            defer { row += count }
            let owner = place.rows.map { "\(place.weight.name) \($0)" } ?? place.weight.name
            if let other = owners[owner] {
                error("ambiguous-module", module.down, "goes to '\(owner)', which '\(other)' changes already")
                continue
            }
            owners[owner] = module.path
            var term = makeTerm(module, shape: place.weight.shape, fit: .rowsAreOutputs)
            term.left.offset += row * term.left.rowStride
            term.rowRange = place.rows
            update(place.weight) { $0.terms.append(term) }
        }
    }
}
