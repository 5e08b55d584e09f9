import Problems
import Safetensors
import StrictJSON

/// Makes changes of the modules of one of PEFT's methods.
struct PEFTKindReader {
    let file: SafetensorsFile
    let config: PEFTConfig
    let configPath: String
    /// Tensors of VeRA that belong to all modules.
    let shared: [String: TensorInfo]
    private(set) var reading: DialectReading

    private let scales: ScaleResolver
    private var feedforward: Feedforward?
    private var rotation: PEFTOFTAction.Settings?
    private var adaLoRA: AdaLoRAReader?
    private var isOrthogonal = false

    /// Reads what the config says of all modules.
    init(
        file: SafetensorsFile, config: PEFTConfig, configPath: String, shared: [String: TensorInfo],
        reading: DialectReading
    ) {
        (self.file, self.config, self.configPath, self.shared) = (file, config, configPath, shared)
        self.reading = reading
        scales = ScaleResolver(config: config, file: configPath)
        switch config.type {
        case "IA3": feedforward = readFeedforward()
        case "OFT": rotation = readRotation()
        case "ADALORA":
            adaLoRA = AdaLoRAReader(file, config, configPath: configPath, &self.reading)
        case "HRA": isOrthogonal = flag("apply_GS", false)
        case "VERA": checkShared()
        default: break
        }
    }

    /// Adds one module.
    mutating func add(_ parts: ModuleParts) {
        switch config.type {
        case "LOHA", "LOKR": addDelta(parts)
        case "IA3": addIA3(parts)
        case "ADALORA": adaLoRA?.add(parts, to: &reading)
        case "VERA": addVeRA(parts)
        case "LN_TUNING":
            for (part, tensor) in parts.tensors.sorted(by: { $0.key < $1.key }) {
                reading.add(
                    TranslatedTensor(tensor), parts.path, .parameter(part.hasSuffix("bias") ? "bias" : "weight"))
            }
        default: addRotation(parts)
        }
    }

    // MARK: Deltas

    /// The scale is alpha / r of the config, also of a LoKr that is stored whole.
    private mutating func addDelta(_ parts: ModuleParts) {
        let (rank, alpha, isLoHa) = (scales.rank(of: parts.path), scales.alpha(of: parts.path), config.type == "LOHA")
        reading.add(parts) { (parts) throws(Problem) in
            let delta: any RowDelta
            let found: Int?
            if isLoHa {
                let made = try LoHaDelta(parts)
                (delta, found) = (made, made.rank)
            } else {
                let made = try LoKrDelta(parts, isPEFT: true)
                (delta, found) = (made, made.rank)
            }
            if let found { try Self.check(found, rank, parts) }
            let scale = rank > 0 ? alpha / Double(rank) : 0
            return [
                ModuleChange(
                    path: parts.path, method: isLoHa ? "LoHa" : "LoKr", tensors: parts.all, rank: found ?? rank,
                    alpha: alpha, effect: .delta(delta, scale: scale))
            ]
        }
    }

    private static func check(_ found: Int, _ expected: Int, _ parts: ModuleParts) throws(Problem) {
        guard found != expected else { return }
        throw Problem(
            .incompatible, "rank-mismatch", file: parts.file, tensor: parts.all.first?.name,
            "belongs to a module of rank \(found), but the config says rank \(expected)",
            hint: "correct 'r' or 'rank_pattern' in the config: what the adapter does depends on it")
    }

    // MARK: VeRA

    /// The part that a name of the shared projections ends in.
    static func sharedPart(_ name: String) -> String? {
        ["base_model.vera_A": "vera_A", "base_model.vera_B": "vera_B"][name]
    }

    private mutating func checkShared() {
        for (_, tensor) in shared.sorted(by: { $0.key < $1.key }) {
            reading.add(TranslatedTensor(tensor), "", .changed)
        }
        guard shared.count < 2 else { return }
        reading.problems.append(
            Problem(
                .incompatible, "missing-projection", file: file.path,
                "has no 'base_model.\(shared["vera_A"] == nil ? "vera_A" : "vera_B")': VeRA's random projections were not saved, and PEFT "
                    + "draws them again from 'projection_prng_key' with torch's generator, which is not done here",
                hint: "save the adapter again with save_projection=True"))
    }

    private mutating func addVeRA(_ parts: ModuleParts) {
        guard shared.count == 2 else {
            for tensor in parts.all { reading.add(TranslatedTensor(tensor), parts.path, .changed) }
            return
        }
        let all = ModuleParts(
            path: parts.path, tensors: parts.tensors.merging(shared) { own, _ in own }, file: parts.file)
        let rank = config.fields["r"]?.number?.int ?? 256
        reading.add(all, shared: Set(shared.keys)) { (parts) throws(Problem) in
            let delta = try VeRADelta(parts, isTransposed: false)
            try Self.check(delta.rank, rank, parts)
            // Messages name the module's own tensors.
            let own = ["vera_lambda_b", "vera_lambda_d", "vera_B", "vera_A"].compactMap { parts[$0] }
            return [
                ModuleChange(
                    path: parts.path, method: "VeRA", tensors: own, rank: delta.rank,
                    effect: .delta(delta, scale: 1),
                    transposed: .delta(try VeRADelta(parts, isTransposed: true), scale: 1))
            ]
        }
    }

    // MARK: IA3

    /// Modules whose inputs are scaled.
    private enum Feedforward {
        case pattern(ModulePattern)
        case ends([String])

        func contains(_ path: String) -> Bool {
            switch self {
            case .pattern(let pattern): pattern.matches(path)
            case .ends(let ends): ends.contains(where: path.hasSuffix)
            }
        }
    }

    private mutating func readFeedforward() -> Feedforward {
        switch config.fields["feedforward_modules"] {
        case nil, .null?: return .ends([])
        case .string(let text)?:
            do throws(Problem) {
                return .pattern(try ModulePattern(whole: text))
            } catch {
                reading.problems.append(error.at(file: configPath))
                return .ends([])
            }
        case .array(let items)?:
            let ends = items.compactMap(\.string)
            if ends.count != items.count { bad("feedforward_modules", "is neither a text nor a list of texts") }
            return .ends(ends)
        default:
            bad("feedforward_modules", "is neither a text nor a list of texts")
            return .ends([])
        }
    }

    /// ia3_l is (out, 1), with the bias if there is one, or (1, in); of convolutions (1, n, 1...) either way.
    private mutating func addIA3(_ parts: ModuleParts) {
        let isListed = feedforward?.contains(parts.path) == true
        reading.add(parts) { (parts) throws(Problem) in
            let factors = try parts.need("ia3_l", dimensions: 2...5)
            let count = factors.elementCount
            let isByInput: Bool
            if factors.shape.count > 2 {
                guard factors.shape[1] == count else { throw parts.bad(factors, "\(factors.shape) is no vector") }
                isByInput = isListed
            } else {
                guard factors.shape.contains(1) else { throw parts.bad(factors, "\(factors.shape) is no vector") }
                isByInput = count == 1 ? isListed : factors.shape[0] == 1
            }
            if isByInput != isListed {
                throw Problem(
                    .incompatible, "config-contradicts", file: parts.file, tensor: factors.name,
                    "\(factors.shape) scales \(isByInput ? "inputs" : "outputs"), but by 'feedforward_modules' in the "
                        + "config '\(parts.path)' scales \(isListed ? "inputs" : "outputs")",
                    hint: "one of the two is wrong: PEFT would not load this tensor")
            }
            let make = { (axis: IA3Action.Axis) in
                ModuleChange.Effect.action(IA3Action(factors: factors, axis: axis, offset: 0))
            }
            let weight = ModuleChange(
                path: parts.path, method: "IA3", tensors: parts.all, effect: make(isByInput ? .inputs : .outputs),
                transposed: factors.shape.count == 2 ? make(isByInput ? .outputs : .inputs) : nil)
            if isByInput { return [weight] }
            let bias = ModuleChange(
                path: parts.path, parameter: "bias", method: "IA3", tensors: parts.all, effect: make(.outputs),
                isOptional: true)
            return [weight, bias]
        }
    }

    // MARK: Rotations

    private mutating func readRotation() -> PEFTOFTAction.Settings {
        if config.fields["oft_block_size"] == nil {
            bad("oft_block_size", "is missing: before 0.14 PEFT had another OFT, which it does not read any more")
        }
        var result = PEFTOFTAction.Settings()
        result.isShared = flag("block_share", false)
        if flag("coft", false) { result.limit = number("eps", 6e-5) }
        let terms = config.fields["num_cayley_neumann_terms"]?.number?.int ?? 5
        if !(1...1000).contains(terms) { bad("num_cayley_neumann_terms", "is \(terms), but 1 to 1000 was needed") }
        result.terms = flag("use_cayley_neumann", true) ? min(max(terms, 1), 1000) : nil
        return result
    }

    private mutating func addRotation(_ parts: ModuleParts) {
        let (type, settings, isOrthogonal) = (config.type, rotation, isOrthogonal)
        let rank = config.rank
        reading.add(parts) { (parts) throws(Problem) in
            let action: any WeightAction
            var found: Int?
            switch type {
            case "OFT": action = try PEFTOFTAction(parts, settings ?? PEFTOFTAction.Settings())
            case "BOFT": action = try PEFTBOFTAction(parts)
            default:
                let made = try HRAAction(parts, isOrthogonal: isOrthogonal)
                try Self.check(made.rank, rank, parts)
                (action, found) = (made, made.rank)
            }
            return [
                ModuleChange(path: parts.path, method: type, tensors: parts.all, rank: found, effect: .action(action))
            ]
        }
    }

    // MARK: Fields

    private mutating func bad(_ key: String, _ message: String) {
        reading.problems.append(Problem(.malformed, "bad-config", file: configPath, "'\(key)' \(message)"))
    }

    private mutating func flag(_ key: String, _ usual: Bool) -> Bool {
        guard let value = config.fields[key], value != .null else { return usual }
        if case .bool(let result) = value { return result }
        bad(key, "is neither true nor false")
        return usual
    }

    private mutating func number(_ key: String, _ usual: Double) -> Double {
        guard let value = config.fields[key], value != .null else { return usual }
        if let result = value.number?.double, result.isFinite { return result }
        bad(key, "is no number")
        return usual
    }
}
