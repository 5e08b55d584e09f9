import Problems
import Safetensors
import Tensors

/// LyCORIS's methods, told apart by the parts of a module (`lycoris/modules`).
enum LyCORISKinds {
    /// What is added to norms: the smallest step of float32 at 1 (`torch.finfo(torch.float32).eps`).
    static let epsilon = 0x1p-23

    /// A method by the parts that only it has.
    private struct Method {
        let name: String
        let own: Set<String>
        /// What may stand beside them.
        let shared: Set<String>
    }

    private static let scaled: Set<String> = ["alpha", "scalar", "dora_scale", "diff_b"]

    private static let methods = [
        Method(
            name: "LoRA", own: ["lora_down.weight", "lora_up.weight", "lora_mid.weight"], shared: scaled
        ),
        Method(name: "LoHa", own: LoHaDelta.parts, shared: scaled),
        Method(name: "LoKr", own: LoKrDelta.parts, shared: scaled),
        Method(name: "full", own: ["diff"], shared: ["diff_b"]),
        Method(name: "norm", own: ["w_norm", "b_norm"], shared: []),
        Method(name: "IA3", own: ["weight", "on_input"], shared: []),
        Method(name: "OFT", own: ["oft_blocks", "rescale"], shared: ["alpha", "diff_b"]),
        Method(
            name: "GLoRA", own: GLoRAAction.parts, shared: ["alpha", "diff_b"]),
    ]

    /// The value of a `scalar` tensor, which the delta is multiplied by.
    static func scalar(_ tensor: TensorInfo, _ file: SafetensorsFile) -> Double? {
        guard tensor.elementCount == 1, let bytes = try? file.read(tensor),
            let value = try? TensorValues.doubles(bytes, tensor.dtype).first, value.isFinite
        else { return nil }
        return value
    }

    /// lora_down of a Tucker decomposition with its middle: (rank × in × kernel...) in float64.
    ///
    /// D = up · (middle · down), where middle is (rank × rank × kernel...) (`lycoris/functional/locon.py`).
    static func tucker(_ down: TensorInfo, _ middle: TensorInfo, _ up: TensorInfo, _ file: SafetensorsFile)
        -> TranslatedTensor?
    {
        let (rank, inputs) = (down.shape[0], down.shape[1])
        guard (3...5).contains(middle.shape.count), !middle.shape.contains(0), middle.dtype.kernel != nil,
            middle.shape[0] == rank, middle.shape[1] == rank, up.shape[1] == rank,
            down.shape.dropFirst(2).allSatisfy({ $0 == 1 }), up.shape.dropFirst(2).allSatisfy({ $0 == 1 })
        else { return nil }
        let shape = [rank, inputs] + middle.shape.dropFirst(2)
        guard DType.byteCount(shape, .f64) != nil else { return nil }
        return TranslatedTensor(down.name, .f64, shape) { () throws(Problem) in
            let factor = try TensorValues.doubles(file.read(down), down.dtype)
            let values = try TensorValues.doubles(file.read(middle), middle.dtype)
            return try TensorValues.rounded(
                FactorPair.joined(values, middle.shape, factor, inputs: inputs), to: .f64)
        }
    }

    /// Adds the module in whatever kind it is.
    static func add(_ module: LyCORISModule, to reading: inout DialectReading) {
        let found = methods.filter { !$0.own.isDisjoint(with: module.parts.keys) }
        let parts = module.parts.keys.sorted()
        if let method = found.first, found.count > 1 {
            let stray = parts.first { found[1].own.contains($0) }
            return module.problem(
                "mixed-factors", stray.flatMap { module.parts[$0] },
                "stands beside parts of \(method.name) of the same module '\(module.path)'",
                hint: "a module is adapted by one method", &reading)
        }
        let known = found.first.map { $0.own.union($0.shared) } ?? ["diff_b"]
        if let stray = parts.first(where: { !known.contains($0) }) {
            let what = found.first.map { " beside \($0.name)" } ?? ""
            return module.problem(
                "not-lora", module.parts[stray], "'\(stray)'\(what) belongs to a method that is not read here", &reading
            )
        }
        if found.first?.name == "LoRA" { module.addPair(&reading) }
        addDifferences(module, &reading)
        let own = ModuleParts(
            path: module.path, tensors: module.parts.filter { found.first?.own.contains($0.key) == true },
            file: module.file.path)
        switch found.first?.name {
        case "LoHa":
            addDelta(module, own, "LoHa", &reading) { (parts) throws(Problem) in
                let delta = try LoHaDelta(parts)
                return (delta, delta.rank)
            }
        case "LoKr":
            addDelta(module, own, "LoKr", &reading) { (parts) throws(Problem) in
                let delta = try LoKrDelta(parts)
                return (delta, delta.rank)
            }
        case "IA3": addIA3(module, own, &reading)
        case "OFT": addRotation(module, own, &reading)
        case "GLoRA": addGLoRA(module, own, &reading)
        default: break
        }
    }

    /// Differences of full size: `diff`, `w_norm` for the weight, `diff_b`, `b_norm` for the bias.
    private static func addDifferences(_ module: LyCORISModule, _ reading: inout DialectReading) {
        let places = [("diff", "weight"), ("w_norm", "weight"), ("diff_b", "bias"), ("b_norm", "bias")]
        for (part, parameter) in places {
            guard let tensor = module.parts[part] else { continue }
            guard tensor.dtype.kernel != nil, !tensor.shape.contains(0) else {
                module.problem(
                    "bad-factor", tensor, "is \(tensor.dtype.rawValue) \(tensor.shape), which is no difference",
                    &reading)
                continue
            }
            reading.add(TranslatedTensor(tensor), module.path, .changed)
            reading.additions.append((module.path, parameter, tensor.name, 1))
        }
    }

    // MARK: Deltas

    /// A delta with alpha / rank as its scale, or 1 where there is no alpha or no rank; with magnitudes an action.
    static func addDelta(
        _ module: LyCORISModule, _ own: ModuleParts, _ method: String, _ reading: inout DialectReading,
        _ make: @escaping (ModuleParts) throws(Problem) -> (delta: any RowDelta, rank: Int?)
    ) {
        let alpha = module.alpha(&reading)
        if module.parts["alpha"] != nil, alpha == nil { return }
        var factor = 1.0
        if let scalar = module.parts["scalar"] {
            guard let value = Self.scalar(scalar, module.file) else {
                return module.problem("bad-alpha", scalar, "is no single finite number", &reading)
            }
            factor = value
        }
        let magnitude = module.parts["dora_scale"]
        var tensors = own.tensors
        tensors["dora_scale"] = magnitude
        let parts = ModuleParts(path: own.path, tensors: tensors, file: own.file)
        reading.add(parts) { (parts) throws(Problem) in
            let (delta, rank) = try make(parts)
            let scale = factor * (rank.flatMap { rank in alpha.map { $0 / Double(rank) } } ?? 1)
            let effect: ModuleChange.Effect
            if let magnitudes = parts["dora_scale"] {
                effect = .action(try MagnitudeAction(delta, scale: scale, magnitudes, parts))
            } else {
                effect = .delta(delta, scale: scale)
            }
            return [
                ModuleChange(
                    path: parts.path, method: magnitude == nil ? method : method + " with magnitudes",
                    tensors: parts.all, rank: rank, alpha: alpha, effect: effect)
            ]
        }
    }

    // MARK: Actions

    /// `weight` with one factor for each output, or each input if `on_input` is not 0.
    private static func addIA3(_ module: LyCORISModule, _ own: ModuleParts, _ reading: inout DialectReading) {
        guard let flag = own["on_input"] else {
            return module.problem(
                "missing-half", own.all.first, "has no matching 'on_input' in the file",
                hint: "without it, it is not known whether inputs or outputs are scaled", &reading)
        }
        guard flag.elementCount == 1, let bytes = try? module.file.read(flag),
            let value = TensorValues.integers(bytes, flag.dtype)?.first.map(Double.init)
                ?? (try? TensorValues.doubles(bytes, flag.dtype))?.first
                ?? (flag.dtype == .bool ? Double(bytes[0]) : nil)
        else {
            return module.problem("bad-factor", flag, "is no single number", &reading)
        }
        var tensors = own.tensors
        tensors["on_input"] = nil
        let weight = ModuleParts(path: own.path, tensors: tensors, file: own.file)
        guard !tensors.isEmpty else {
            return module.problem(
                "missing-half", flag, "has no matching 'weight' in the file",
                hint: "the file is incomplete: save the adapter again, or download it again", &reading)
        }
        reading.add(weight) { (parts) throws(Problem) in
            let factors = try parts.need("weight", dimensions: 1...5)
            guard factors.shape.filter({ $0 != 1 }).count <= 1 else {
                throw parts.bad(factors, "\(factors.shape) is no vector")
            }
            let action = IA3Action(factors: factors, axis: value == 0 ? .outputs : .inputs, offset: 1)
            return [ModuleChange(path: parts.path, method: "IA3", tensors: parts.all, effect: .action(action))]
        }
    }

    private static func addRotation(_ module: LyCORISModule, _ own: ModuleParts, _ reading: inout DialectReading) {
        let constraint = module.alpha(&reading)
        if module.parts["alpha"] != nil, constraint == nil { return }
        reading.add(own) { (parts) throws(Problem) in
            let isButterfly = parts["oft_blocks"]?.shape.count == 4
            let action: any WeightAction =
                isButterfly
                ? try ButterflyAction(parts, constraint: constraint ?? 0)
                : try DiagOFTAction(parts, constraint: constraint ?? 0)
            return [
                ModuleChange(
                    path: parts.path, method: isButterfly ? "BOFT" : "OFT", tensors: parts.all,
                    effect: .action(action))
            ]
        }
    }

    private static func addGLoRA(_ module: LyCORISModule, _ own: ModuleParts, _ reading: inout DialectReading) {
        let alpha = module.alpha(&reading)
        if module.parts["alpha"] != nil, alpha == nil { return }
        reading.add(own) { (parts) throws(Problem) in
            let action = try GLoRAAction(parts, alpha: alpha)
            return [
                ModuleChange(
                    path: parts.path, method: "GLoRA", tensors: parts.all, rank: action.rank, alpha: alpha,
                    effect: .action(action))
            ]
        }
    }
}
